"""Class-wise depth histograms, and how similar two of them are (CDDA).

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg.datasets.depth import NUM_BINS


def depth_histogram(label: Tensor, depth: Tensor, num_classes: int = 19) -> Tensor:
    """Count the pixels of every class at every depth.

    Args:
        label: (…, H, W) integer class; values outside 0…C-1 (such as 255) do not count.
        depth: (…, H, W) depth bin, any type; truncated, values outside 0…255 do not count.

    Returns:
        (…, C, 256) float32 counts; exact up to 2²⁴ pixels in one bin.

    >>> depth_histogram(torch.tensor([[1, 1, 255]]), torch.tensor([[7.9, 7.0, 7.0]]), 2)[1, 7]
    tensor(2.)
    """
    if label.shape != depth.shape or label.ndim < 2:
        raise ValueError(
            f"expected label and depth of one shape (…, H, W), got {tuple(label.shape)} and "
            f"{tuple(depth.shape)}; resize both together."
        )
    leading = label.shape[:-2]
    label = label.flatten(end_dim=-3) if leading else label[None]
    depth = depth.reshape(label.shape).to(torch.int64)
    label = label.to(torch.int64)
    counted = (label >= 0) & (label < num_classes) & (depth >= 0) & (depth < NUM_BINS)
    image = torch.arange(len(label), device=label.device).view(-1, 1, 1)
    cell = (image * num_classes + label) * NUM_BINS + depth
    size = len(label) * num_classes * NUM_BINS
    cell = torch.where(counted, cell, size).flatten()  # one more cell takes what does not count
    # On a GPU `bincount` waits for the device to learn its own size; adding up ones does not.
    if label.is_cuda:
        ones = torch.ones_like(cell, dtype=torch.float32)
        counts = torch.zeros(size + 1, device=label.device).scatter_add_(0, cell, ones)
    else:
        counts = torch.bincount(cell, minlength=size + 1).float()
    return counts[:-1].view(*leading, num_classes, NUM_BINS)


@dataclass(frozen=True)
class Bank:
    """Histograms class first, so that each class is one contiguous matrix, and what repeats."""

    counts: Tensor  # (C, M, D)
    sizes: Tensor  # (C, M) pixels of the class in a crop
    norms: Tensor  # (C, M) L2 norm of a histogram

    @classmethod
    def of(cls, histograms: Tensor) -> "Bank":
        """Rearrange (M, C, D) histograms."""
        is_float = histograms.is_floating_point()
        histograms = histograms if is_float else histograms.float()
        counts = histograms.transpose(0, 1).contiguous()
        return cls(counts, counts.sum(2), counts.norm(dim=2))


def class_similarity(target: Tensor, bank: Bank) -> Tensor:
    """Compare class-wise depth distributions: sim_c = (cos_c + 1 - l1_c) / 2.

    cos_c compares the shapes of the two distributions, l1_c also their sizes.

    Args:
        target: (B, C, D) counts.
        bank: of M source crops.

    Returns:
        (B, M, C) in [0, 1]; 0 for classes that the target does not have.
    """
    by_class = target.transpose(0, 1)  # (C, B, D)
    sizes = by_class.sum(2, keepdim=True)  # (C, B, 1)
    dot = torch.bmm(by_class, bank.counts.transpose(1, 2))  # (C, B, M)
    norms = by_class.norm(dim=2, keepdim=True) * bank.norms[:, None]
    cosine = torch.where(norms > 0, dot / norms, 0.0)
    distance = torch.cdist(by_class, bank.counts, p=1)
    similarity = (cosine + 1 - distance / (sizes + bank.sizes[:, None]).clamp(min=1)) / 2
    return torch.where(sizes > 0, similarity, 0.0).permute(1, 2, 0)
