"""Dilated depth-wise convolutions on a CPU, without dilation.

A convolution of dilation d joins pixels that lie d apart, and those form d×d interlaced images. On
these it has no dilation, for which alone libraries have fast gradients.

Legend: N images, C channels, H×W pixels, dilation d, h×w pixels of an interlaced image.
"""

import torch.nn.functional as F
from torch import Tensor


def dilated_depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Convolve each channel of (N, C, H, W) with its own of weight (C, 1, k, k), k odd.

    Stride 1, padded to keep the size. The result is channels-last.
    """
    parts = interlaced(x, dilation)
    padding = weight.shape[2] // 2
    parts = F.conv2d(parts, weight, bias, padding=padding, groups=x.shape[1])
    return woven(parts, dilation, (x.shape[2], x.shape[3]))


def interlaced(x: Tensor, d: int) -> Tensor:
    """Split (N, C, H, W), padded by 0, into its interlaced images (N·d·d, C, h, w)."""
    n, channels, height, width = x.shape
    view = x.permute(0, 2, 3, 1)
    if height % d or width % d:
        view = F.pad(view, (0, 0, 0, -width % d, 0, -height % d))
    view = view.unflatten(1, (-1, d)).unflatten(3, (-1, d)).permute(0, 2, 4, 1, 3, 5)
    return view.reshape(n * d * d, -1, view.shape[4], channels).permute(0, 3, 1, 2)


def woven(parts: Tensor, d: int, size: tuple[int, int]) -> Tensor:
    """Turn interlaced images (N·d·d, C, h, w) into (N, C, *size)."""
    view = parts.permute(0, 2, 3, 1).unflatten(0, (-1, d, d)).permute(0, 3, 1, 4, 2, 5)
    whole = view.flatten(3, 4).flatten(1, 2)
    return whole[:, : size[0], : size[1]].contiguous().permute(0, 3, 1, 2)
