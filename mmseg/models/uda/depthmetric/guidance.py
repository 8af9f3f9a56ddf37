"""What happens when a class is missing: the guidance of classes that depth suggests (CDDA).

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), K of
them that occur in the bank.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.models.uda.depthmetric import as_released
from mmseg.system.processes import all_reduce_max

GUIDANCE_WEIGHT = 0.1  # of the pseudo-label's weight
# A class that is certain at a depth stays below 1: only the one-hot entry may equal 1.
LARGEST_PRIOR = 0.99999


def guidance_prior(source: Tensor, is_guided: Tensor) -> Tensor:
    """Return p_c(b), how likely class c is at depth b in the matched source crop.

    Args:
        source: (B, C, K) counts of the match.
        is_guided: (B, C) bool, classes to guide.

    Returns:
        (B, C, K) in [0, 0.99999]; 0 for the classes that are not guided.
    """
    total = source.sum(1, keepdim=True)
    prior = torch.where(total > 0, source / total, 0.0).clamp(max=LARGEST_PRIOR)
    return prior * is_guided[:, :, None]


def decide_guidance(source: Tensor, is_missing: Tensor, occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Guide if any missing class shares a depth with its image, on any process.

    Args:
        source: (B, C, K) counts of the match.
        is_missing: (B, C) bool.
        occupied: (B, K) pixels of the image at each depth.

    Returns:
        The classes that take part, (B, C) bool, and whether guidance runs, () bool.
    """
    shared = source * is_missing[:, :, None] * occupied[:, None]
    return is_missing, all_reduce_max(shared.amax()) > 0


def trust_inside(weight: Tensor, trust: Tensor) -> Tensor:
    """Set the weight to 0 where pseudo-labels do not count (margins, padding)."""
    return weight * trust


def raw_labels(label: Tensor, depth: Tensor, table: Tensor) -> Tensor:
    """Add the guidance to the one-hot pseudo-label; a pixel's sum may exceed 1.

    Args:
        label: (B, H, W) int64, 255 is ignored.
        depth: (B, H, W) depth bins.
        table: (B, C, D) from `guidance_prior`.

    Returns:
        (B, C, H, W); ignored pixels hold guidance only.
    """
    classes = table.shape[1]
    bins = depth.to(torch.int64)
    is_counted = (bins >= 0) & (bins < NUM_BINS)
    column = bins.clamp(0, NUM_BINS - 1).flatten(1)[:, None].expand(-1, classes, -1)
    prior = table.gather(2, column).unflatten(2, label.shape[1:])  # (B, C, H, W)
    one_hot = label[:, None] == torch.arange(classes, device=label.device).view(-1, 1, 1)
    return one_hot + prior * is_counted[:, None]


def lower_excess(target: Tensor) -> Tensor:
    """Lower the entry of 1 at pixels whose sum exceeds 1: it becomes 2 - sum.

    It may become negative where several classes are guided. Pixels without such an entry (ignored
    ones) and pixels whose sum is at most 1 stay as they are.

    Args:
        target: (B, C, H, W).

    >>> lower_excess(torch.tensor([1.0, 0.25, 0.0]).view(1, 3, 1, 1)).flatten()
    tensor([0.7500, 0.2500, 0.0000])
    """
    total = target.sum(1, keepdim=True)
    return torch.where((target == 1) & (total > 1), 2 - total, target)


def soft_cross_entropy(
    logits: Tensor, soft_label: Tensor, weight: Tensor, reference_quirks: bool = False
) -> Tensor:
    """Mean over all pixels of -weight · Σ_c soft_label_c · log softmax(logits)_c.

    Args:
        logits: (B, C, h, w), upsampled bilinearly to H×W.
        soft_label: (B, C, H, W); sums above 1 are lowered first, see `lower_excess`.
        weight: (B, H, W), or (B, 1, H, W).
        reference_quirks: weight the images as the released code does, see `mix_weights`.

    >>> soft_cross_entropy(torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1) / 2, torch.ones(1, 1, 1))
    tensor(0.6931)
    """
    if weight.ndim == 4:
        weight = weight[:, 0]
    if soft_label.shape != (*logits.shape[:2], *weight.shape[1:]):
        raise ValueError(
            f"expected soft labels (B, C, H, W) = {(*logits.shape[:2], *weight.shape[1:])}, "
            f"got {tuple(soft_label.shape)}; make them at the size of the weights."
        )
    if logits.shape[2:] != weight.shape[1:]:
        logits = F.interpolate(logits, weight.shape[1:], mode="bilinear", align_corners=False)
    soft_label = lower_excess(soft_label)
    loss = -(soft_label * logits.log_softmax(1)).sum(1)  # (B, H, W)
    if reference_quirks:
        weight = as_released.mix_weights(weight)
    return (loss * weight).mean()
