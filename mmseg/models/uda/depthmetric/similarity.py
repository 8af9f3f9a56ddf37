"""The similarity of class-wise depth distributions: sim_c = (cos_c + 1 - l1_c) / 2.

Legend: B images, C classes, D = 256 depth bins (0…255), M source crops.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models.uda.depthmetric.bank import Bank


def best_match(target: Tensor, bank: Bank) -> tuple[Tensor, Tensor, Tensor]:
    """Find the source crop that is most similar to each target image.

    A crop's score is the sum of its class similarities, times the cosine of the class sizes.

    Args:
        target: (B, C, D) counts.
        bank: of M source crops.

    Returns:
        index: (B,) int64 of the best crop.
        class_similarity: (B, C) of that crop.
        mean: (B,) its score divided by the number of classes in the image; 0 if there are none.
    """
    sizes = target.sum(2)  # (B, C)
    with torch.autocast(target.device.type, enabled=False):  # half precision rounds counts
        similarity = class_similarity(target, bank)  # (B, M, C)
        alike = F.cosine_similarity(sizes[:, None], bank.sizes[None], dim=2)  # (B, M)
    score = similarity.sum(2) * alike
    best = score.argmax(1)
    image = torch.arange(len(best), device=best.device)
    num_present = (sizes > 0).sum(1).clamp(min=1)
    return best, similarity[image, best], score[image, best] / num_present


def class_similarity(target: Tensor, bank: Bank) -> Tensor:
    """Compare class-wise depth distributions: sim_c = (cos_c + 1 - l1_c) / 2.

    cos_c compares the shapes of the two distributions, l1_c also their sizes.

    Args:
        target: (B, C, D) counts.
        bank: of M source crops.

    Returns:
        (B, M, C) in [0, 1]; 0 for classes that the target or the crop lacks.
    """
    similarity = target.new_zeros(target.shape[1], len(target), len(bank.sizes))  # (C, B, M)
    for c in _classes_to_compare(target):
        rows = slice(bank.ends[c], bank.ends[c + 1])
        crops = bank.crops[rows]
        values = _compare(target[:, c], bank, rows, bank.sizes[crops, c])
        similarity[c].index_copy_(1, crops, values)
    return similarity.permute(1, 2, 0)


def _classes_to_compare(target: Tensor) -> Iterable[int]:
    """Return the classes of the target (B, C, D), or all classes where looking would wait."""
    if target.device.type != "cpu":
        return range(target.shape[1])
    return target.amax((0, 2)).nonzero()[:, 0].tolist()


def _compare(target: Tensor, bank: Bank, rows: slice, source_sizes: Tensor) -> Tensor:
    """Return the similarities (B, r) of one class's histograms (B, D) with r rows of the bank."""
    counts = bank.counts[rows]  # (r, K)
    kept = target[:, bank.bins]
    sizes = target.sum(1, keepdim=True)  # (B, 1)
    norms = target.norm(dim=1, keepdim=True) * bank.norms[rows]
    cosine = kept @ counts.T / norms  # NaN for images without the class
    # Pixels of the target at depths that no crop has count fully as difference.
    distance = torch.cdist(kept, counts, p=1) + (sizes - kept.sum(1, keepdim=True))
    return torch.where(sizes > 0, (cosine + 1 - distance / (sizes + source_sizes)) / 2, 0.0)
