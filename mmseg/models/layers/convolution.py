"""A convolution that takes the way which is fastest where it runs.

Legend: N images, C channels, H×W pixels.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmseg.models.layers.interlacing import dilated_depthwise
from mmseg.models.layers.winograd import conv3x3

# Measured with benchmarks/convolutions.py, see benchmarks/RESULTS.md.
# From here on Winograd's way pays.
LEAST_CHANNELS, LEAST_PIXELS, LEAST_PRODUCTS = 64, 512, 2**24
LEAST_SIDE = 3  # of an interlaced image; processors with AVX2 alone are slow with smaller ones


def uses_plain_convolutions(x: Tensor) -> bool:
    """Tell whether torch's own convolutions are taken for `x`.

    On a CPU others are, except in half precision, in a compiled network, and without oneDNN.
    """
    return (
        x.device.type != "cpu"
        or torch.compiler.is_compiling()
        or not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or x.dtype not in (torch.float32, torch.float64)
        or x.numel() == 0
    )


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Take torch's own convolutions within, for counting their operations."""
    before, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`; on a CPU equal to it up to rounding, and faster on channels-last maps."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, out_channels, H', W')."""
        if uses_plain_convolutions(input) or not self._keeps_size():
            return super().forward(input)
        is_depthwise = self.groups == self.in_channels == self.out_channels
        if is_depthwise and self.dilation[0] > 1:
            if min(input.shape[2:]) > (LEAST_SIDE - 1) * self.dilation[0]:
                return dilated_depthwise(input, self.weight, self.bias, self.dilation[0])
            y = super().forward(input.contiguous())
            return y.contiguous(memory_format=torch.channels_last)
        if self._suits_winograd(input.shape) and _is_channels_last(input):
            y = conv3x3(input, self.weight)
            return y if self.bias is None else y + self.bias[:, None, None]
        return super().forward(input)

    def _keeps_size(self) -> bool:
        reach = tuple(d * (k // 2) for d, k in zip(self.dilation, self.kernel_size, strict=True))
        is_square = len(set(self.kernel_size)) == len(set(self.dilation)) == 1
        is_odd = self.kernel_size[0] % 2 == 1
        zeros = self.padding_mode == "zeros"
        return is_square and is_odd and zeros and self.stride == (1, 1) and self.padding == reach

    def _suits_winograd(self, shape: torch.Size) -> bool:
        if self.groups > 1 or self.dilation != (1, 1) or self.kernel_size != (3, 3):
            return False
        pixels, channels = shape.numel() // shape[1], (self.in_channels, self.out_channels)
        is_large = pixels >= LEAST_PIXELS and pixels * math.prod(channels) >= LEAST_PRODUCTS
        return is_large and min(channels) >= LEAST_CHANNELS


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
