"""Pseudo-label weights that follow from depth similarity (CDDA).

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

import torch
from torch import Tensor

# If a class has similarity v above HIGH, its confident pixels count fully; below LOW, its pixels do
# not count; in between, they count (v - LOW) / (HIGH - LOW).
HIGH, LOW = 0.75, 0.1


def reweight_table(similarity: Tensor, applies: Tensor) -> tuple[Tensor, Tensor]:
    """Turn class similarities into weights of pixels.

    Args:
        similarity: (B, C) of the best match.
        applies: (B, C) bool, classes that are re-weighted.

    Returns:
        factor: (B, C) new weight of the class's pixels; NaN where they keep theirs.
        is_trusted: (B, C) bool, classes whose confident pixels get weight 1.
    """
    value = similarity.clamp(min=0)
    is_trusted = applies & (value > HIGH)
    factor = torch.where(value < LOW, 0.0, (value - LOW) / (HIGH - LOW))
    return factor.masked_fill(~applies | is_trusted, torch.nan), is_trusted


def reweight(
    weight: Tensor, label: Tensor, confident: Tensor, factor: Tensor, is_trusted: Tensor
) -> Tensor:
    """Give every pixel the weight of its own class (the default).

    Args:
        weight: (B, H, W) pseudo-label weight in [0, 1]; label: (B, H, W) int64;
        confident: (B, H, W) bool; factor, is_trusted: (B, C) from `reweight_table`.
    """
    keep = torch.full_like(factor[:, :1], torch.nan)
    factor = torch.cat([factor, keep], 1)  # column C: ignored pixels keep their weight
    is_trusted = torch.cat([is_trusted, torch.zeros_like(is_trusted[:, :1])], 1)
    column = label.clamp(max=factor.shape[1] - 1).flatten(1)  # (B, HW)
    factor = factor.gather(1, column).view_as(weight)
    trusted = is_trusted.gather(1, column).view_as(confident) & confident
    weight = torch.where(factor.isnan(), weight, factor.to(weight.dtype))
    return torch.where(trusted, 1.0, weight)
