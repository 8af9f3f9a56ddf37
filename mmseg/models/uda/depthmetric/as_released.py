"""Where the released code does something else than its paper says (`uda.reference_quirks=True`).

The table in docs/differences.md calls these deviations Q1 to Q5. Each function here takes the place of one that does
as described; nothing else depends on this file.

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255).
"""

import torch
from torch import Tensor

from mmseg.models.uda.depthmetric.histogram import depth_histogram
from mmseg.system.processes import all_reduce_max, rank


def reweight(
    weight: Tensor, label: Tensor, confident: Tensor, factor: Tensor, is_trusted: Tensor
) -> Tensor:
    """Re-weight by the first row of the label (Q1), in place of `reweighting.reweight`.

    The mask of a class is where the *first row* of the label shows it. For a trusted class it
    selects columns, for the others rows; later classes overwrite earlier ones.
    """
    height, width = label.shape[-2:]
    if height != width:
        raise ValueError(
            f"uda.reference_quirks=True needs square crops, got {height}×{width}; set it to False "
            "or use a square crop_size."
        )
    result = weight
    for index in range(factor.shape[1]):
        mask = label[:, 0] == index  # (B, W)
        trusted = mask[:, None, :] & confident & is_trusted[:, index, None, None]
        value = factor[:, index, None, None]
        others = mask[:, :, None] & ~value.isnan()
        result = torch.where(trusted, 1.0, torch.where(others, value, result))
    return result


def decide_guidance(prior: Tensor, is_missing: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Decide by the last missing class (Q2), in place of `guidance.decide_guidance`.

    A missing class takes part only if it meets a depth of the image that is a whole number (Q4).

    Args:
        prior: (B, C, D) from `guidance_prior`.
        is_missing: (B, C) bool.
        depth: (B, H, W) depth bins.

    Returns:
        (B, C, D) the prior of the classes that take part, and () bool, whether guidance runs.
    """
    bins = depth.to(torch.int64)
    bins = torch.where(depth == bins, bins, -1)
    occupied = depth_histogram(torch.zeros_like(bins), bins, 1) > 0  # (B, 1, D)
    overlaps = ((prior > 0) & occupied).any(2)  # (B, C)
    return prior * overlaps[:, :, None], _last_of(is_missing.flatten(), overlaps.flatten())


def mix_weights(weight: Tensor) -> Tensor:
    """Weight every image with every image's weights (Q3): their mean over the batch, (H, W).

    Nothing changes for B = 1. With several processes those of the others are the same, because
    every pixel has the weight 0.1·w in this mode.
    """
    return weight.mean(0)


def trust_everywhere(weight: Tensor, trust: Tensor) -> Tensor:
    """Guide on margins and padding too (Q5): return the weight, whatever `trust` says."""
    del trust
    return weight


def _last_of(mask: Tensor, values: Tensor) -> Tensor:
    """Return the value at the last True of `mask`, False if there is none (Q2).

    Args:
        mask, values: (N,) bool of this process; those of the next process come after them.
    """
    order = torch.arange(1, len(mask) + 1, device=mask.device) + rank() * len(mask)
    code = ((2 * order + values) * mask).max()  # the largest order decides, its value is the 0/1
    return all_reduce_max(code) % 2 > 0
