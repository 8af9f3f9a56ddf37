"""Pseudo-label weights that follow from depth similarity (CDDA).

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

import torch
from torch import Tensor

# If a class has similarity v above HIGH, its confident pixels count fully; below LOW, its pixels do
# not count; in between, they count (v - LOW) / (HIGH - LOW).
HIGH, LOW = 0.75, 0.1
KEEP = 9.0  # in place of a weight


def reweight_table(similarity: Tensor, is_kept: Tensor, low: Tensor | float = LOW) -> Tensor:
    """Turn class similarities into weights of pixels.

    Args:
        similarity: (B, C) of the best match.
        is_kept: (B, C) bool, or a shape that fits: where pixels keep their weight.
        low: LOW of each class, (C,); -∞ if its pixels always keep theirs.

    Returns:
        (B, C + 1) new weight of the class's pixels. Below 0 it means 0. Above 1, confident pixels
        get 1, the others keep theirs. From `KEEP` on, as for ignored pixels in column C, all do.
    """
    factor = (similarity - low) / (HIGH - LOW)
    table = factor.new_full((len(factor), factor.shape[1] + 1), KEEP)
    torch.where(is_kept, table[:, -1:], factor, out=table[:, :-1])
    return table


def reweight(weight: Tensor, label: Tensor, confident: Tensor, table: Tensor) -> Tensor:
    """Give every pixel the weight of its own class (the default).

    Args:
        weight: (B, H, W) pseudo-label weight in [0, 1]; label: (B, H, W) int64, C if ignored;
        confident: (B, H, W) bool; table: (B, C + 1) from `reweight_table`.
    """
    factor = table.to(weight.dtype).gather(1, label.flatten(1)).view_as(weight)
    is_new = factor <= confident + 1.0
    return torch.where(is_new, factor.clamp_(0, 1), weight)
