"""Where the released code deviates from its paper (`uda.reference_quirks=True`).

docs/differences.md lists the deviations Q1 to Q5; `reweight` has Q1, the first-row bug. Each
function replaces one that works as described, and nothing else depends on this file.

Legend: B images, C classes, H×W pixels, K depth bins that occur in the bank.
"""

import torch
from torch import Tensor

from mmseg.models.uda.depthmetric.histogram import count_pixels
from mmseg.models.uda.depthmetric.reweighting import KEEP
from mmseg.system.processes import all_reduce_max, rank


def reweight(weight: Tensor, label: Tensor, confident: Tensor, table: Tensor) -> Tensor:
    """Re-weight by the first row of the label (Q1), in place of `reweighting.reweight`.

    The mask of a class is taken from the *first row* of the label alone. It selects columns for a
    trusted class and rows for the others; later classes overwrite earlier ones.
    """
    height, width = label.shape[-2:]
    if height != width:
        raise ValueError(
            f"expected square crops with uda.reference_quirks=True, got {height}×{width}; set it "
            "to False or use a square crop_size."
        )
    result, is_trusted = weight, (table > 1) & (table < KEEP)
    for index in range(table.shape[1] - 1):
        mask = label[:, 0] == index  # (B, W)
        trusted = mask[:, None, :] & confident & is_trusted[:, index, None, None]
        value = table[:, index, None, None]
        others = mask[:, :, None] & (value <= 1)
        result = torch.where(trusted, 1.0, torch.where(others, value.clamp(min=0), result))
    return result.to(weight.dtype)


def decide_guidance(source: Tensor, is_missing: Tensor, occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Let the last missing class decide (Q2), in place of `guidance.decide_guidance`.

    A missing class takes part only if it overlaps with `occupied`, here `whole_depths` (Q4).
    Arguments and results are those of the function that it replaces.
    """
    is_missing = is_missing & (source > 0).any(2)
    overlaps = ((source > 0) & (occupied > 0)[:, None]).any(2)  # (B, C)
    return is_missing & overlaps, _last_of(is_missing.flatten(), overlaps.flatten())


def whole_depths(depth: Tensor, bins: Tensor) -> Tensor:
    """Count the pixels, (B, K), whose depth is a whole number (Q4), of the K bins."""
    number = depth.to(torch.int64)
    number = torch.where(depth == number, number, -1)
    return count_pixels(torch.zeros_like(number), number, 1)[:, 1].index_select(1, bins + 1)


def mix_weights(weight: Tensor) -> Tensor:
    """Weight every image with the batch's mean weights, (H, W), instead of its own (Q3).

    Other processes have the same weights, because every pixel weighs 0.1·w in this mode.
    """
    return weight.mean(0)


def trust_everywhere(weight: Tensor, trust: Tensor) -> Tensor:
    """Guide on margins and padding too (Q5): ignore `trust`."""
    del trust
    return weight


def _last_of(mask: Tensor, values: Tensor) -> Tensor:
    """Return the value at the last True of `mask`, False if there is none (Q2).

    Both are (N,) bool; those of the next process follow those of this one.
    """
    order = torch.arange(1, len(mask) + 1, device=mask.device) + rank() * len(mask)
    code = ((2 * order + values) * mask).max()  # the lowest bit is the value of the last one
    return all_reduce_max(code) % 2 > 0
