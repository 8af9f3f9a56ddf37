"""Class-wise depth histograms: how often each class occurs at each depth.

Legend: C classes, H×W pixels, D = 256 depth bins (0…255).
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
    leading = label.shape[:-2]
    label = label.flatten(end_dim=-3) if leading else label[None]
    depth = depth.reshape(label.shape).to(torch.int64)
    label = label.to(torch.int64)
    counted = (label >= 0) & (label < num_classes) & (depth >= 0) & (depth < NUM_BINS)
    image = torch.arange(len(label), device=label.device).view(-1, 1, 1)
    cell = (image * num_classes + label) * NUM_BINS + depth
    size = len(label) * num_classes * NUM_BINS
    cell = torch.where(counted, cell, size).flatten()  # an extra cell takes what does not count
    # On a GPU, `bincount` waits for the device to learn its size; adding up ones does not.
    if label.device.type != "cpu":
        ones = torch.ones_like(cell, dtype=torch.float32)
        counts = torch.zeros(size + 1, device=label.device).scatter_add_(0, cell, ones)
    else:
        counts = torch.bincount(cell, minlength=size + 1).float()
    return counts[:-1].view(*leading, num_classes, NUM_BINS)
