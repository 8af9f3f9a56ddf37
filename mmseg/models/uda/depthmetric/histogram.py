"""Class-wise depth histograms: how often each class occurs at each depth.

Legend: B images, C classes, H×W pixels, D = 256 depth bins (0…255).
"""

import torch
from torch import Tensor

from mmseg.datasets.depth.bins import NUM_BINS


def depth_histogram(label: Tensor, depth: Tensor, num_classes: int = 19) -> Tensor:
    """Count the pixels of every class at every depth.

    Args:
        label: (…, H, W) integer class; values outside 0…C-1 (such as 255) do not count.
        depth: (…, H, W) depth bin, any type; truncated; values outside 0…255 do not count.

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
    flat = label.reshape(-1, *label.shape[-2:])
    row = flat.to(torch.int64).clamp(-1, num_classes)
    counts = count_pixels(row, depth.reshape(flat.shape), num_classes)[:, 1:-1, 1:-1]
    return counts.float().reshape(*label.shape[:-2], num_classes, NUM_BINS)


def count_pixels(label: Tensor, depth: Tensor, num_classes: int) -> Tensor:
    """Count all pixels; those beyond the classes or the bins are in cells around theirs.

    Args:
        label: (B, H, W) int64 class; -1 and C stand for values beyond the classes.
        depth: (B, H, W) depth bin, any type; truncated.

    Returns:
        (B, C + 2, D + 2) float64 counts; class c and bin b are in cell (c + 1, b + 1).
    """
    rows, columns = num_classes + 2, NUM_BINS + 2
    column = depth.to(torch.int64).clamp(-1, NUM_BINS)
    cell = torch.add(column, label, alpha=columns).add_(columns + 1).flatten(1)
    size = rows * columns
    # On a GPU, `bincount` waits for the device to learn its size; adding up ones does not.
    if label.device.type != "cpu":
        zeros = torch.zeros(len(cell), size, dtype=torch.float64, device=cell.device)
        counts = zeros.scatter_(1, cell, 1.0, reduce="add")
    else:
        counts = torch.stack([torch.bincount(each, minlength=size) for each in cell]).double()
    return counts.view(-1, rows, columns)
