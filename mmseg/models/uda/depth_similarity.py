"""Class-wise depth histograms, and how similar two of them are (CDDA).

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255), M source crops.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmseg.datasets.depth.bins import NUM_BINS


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
    if label.device.type != "cpu":
        ones = torch.ones_like(cell, dtype=torch.float32)
        counts = torch.zeros(size + 1, device=label.device).scatter_add_(0, cell, ones)
    else:
        counts = torch.bincount(cell, minlength=size + 1).float()
    return counts[:-1].view(*leading, num_classes, NUM_BINS)


class Bank(nn.Module):
    """The histograms of the source crops without what is empty in them.

    A crop shows about half of the classes and 8-bit depth fills 119 of the 256 bins, so that about
    a quarter remains, to keep and to compare with.

    Args:
        histograms: (M, C, D) counts.
    """

    # R rows, one per class of a crop that has pixels, sorted by class; K bins that occur at all.
    counts: Tensor  # (R + 1, K); the last row is empty
    norms: Tensor  # (R + 1,) L2 norm of a row
    crops: Tensor  # (R,) int64, the crop of a row
    rows: Tensor  # (M, C) int64, the row of a crop's class; R where it has no pixels
    sizes: Tensor  # (M, C) pixels of a crop's class
    bins: Tensor  # (K,) int64

    def __init__(self, histograms: Tensor) -> None:
        super().__init__()
        if not histograms.is_floating_point():
            histograms = histograms.float()
        sizes = histograms.sum(2)
        is_shown = (sizes > 0).T  # (C, M)
        bins = histograms.amax((0, 1)).nonzero()[:, 0]
        shown = histograms.transpose(0, 1)[is_shown][:, bins]  # (R, K)
        counts = torch.cat([shown, shown.new_zeros(1, len(bins))])
        rows = (is_shown.flatten().cumsum(0) - 1).view_as(is_shown)
        buffers = {
            "counts": counts,
            "norms": counts.norm(dim=1),
            "crops": is_shown.nonzero()[:, 1],
            "rows": rows.where(is_shown, len(counts) - 1).T.contiguous(),
            "sizes": sizes,
            "bins": bins,
        }
        for name, value in buffers.items():  # not saved: the bank is a file of its own
            self.register_buffer(name, value, persistent=False)
        self.ends = [0, *is_shown.sum(1).cumsum(0).tolist()]  # class c: rows ends[c]…ends[c + 1]

    def histograms(self, index: Tensor) -> Tensor:
        """Return the (B, C, D) histograms of the crops with the numbers `index`, (B,)."""
        counts = self.counts[self.rows[index]]  # (B, C, K)
        whole = counts.new_zeros(*counts.shape[:2], NUM_BINS)
        return whole.index_copy_(2, self.bins, counts)


def class_similarity(target: Tensor, bank: Bank) -> Tensor:
    """Compare class-wise depth distributions: sim_c = (cos_c + 1 - l1_c) / 2.

    cos_c compares the shapes of the two distributions, l1_c also their sizes.

    Args:
        target: (B, C, D) counts.
        bank: of M source crops.

    Returns:
        (B, M, C) in [0, 1]; 0 for classes that the target or the crop does not have.
    """
    similarity = target.new_zeros(target.shape[1], len(target), len(bank.sizes))  # (C, B, M)
    for c in _classes_to_compare(target):
        rows = slice(bank.ends[c], bank.ends[c + 1])
        crops = bank.crops[rows]
        values = _compare(target[:, c], bank, rows, bank.sizes[crops, c])
        similarity[c].index_copy_(1, crops, values)
    return similarity.permute(1, 2, 0)


def _classes_to_compare(target: Tensor) -> Iterable[int]:
    """Return the classes that the target (B, C, D) has: all of them where looking would wait."""
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
    # What the target has at depths that no crop has differs from all of them by itself.
    distance = torch.cdist(kept, counts, p=1) + (sizes - kept.sum(1, keepdim=True))
    return torch.where(sizes > 0, (cosine + 1 - distance / (sizes + source_sizes)) / 2, 0.0)
