"""The residual blocks of ResNet and its relatives.

Legend: N images, C channels, H×W pixels. Attribute names are those of published checkpoints.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmseg.models.layers import build_norm


@dataclass(frozen=True)
class Place:
    """The position of a block: its input channels, nominal width, and sampling."""

    in_channels: int
    channels: int
    stride: int = 1
    dilation: int = 1


@dataclass(frozen=True)
class BlockOptions:
    """The settings that all blocks of a network share."""

    norm_cfg: Mapping[str, Any]
    is_caffe: bool = False  # a bottleneck's stride is in its first 1×1 convolution, not in the 3×3
    avg_down: bool = False  # shortcuts average before their 1×1 convolution; else, skip pixels
    with_cp: bool = False  # recompute activations in the backward pass instead of keeping them
    groups: int = 1  # of the 3×3 convolution
    width_ratio: float = 1.0  # channels per group = ⌊width·ratio⌋ if grouped
    radix: int = 1  # of split attention (ResNeSt), like the following
    reduction_factor: int = 4
    avg_down_stride: bool = True


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a 3×3 convolution without bias, padded by its dilation."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups, bias=False)


class ResidualBlock(nn.Module):
    """`relu(shortcut + branch)`; a subclass builds the branch, then calls `add_shortcut`."""

    expansion = 1  # output channels per nominal channel

    def __init__(self, place: Place, options: BlockOptions) -> None:
        super().__init__()
        self.place, self.options = place, options
        self.units: list[tuple[str, str]] = []  # names of the convolutions and of their norms
        self.downsample: nn.Module | None

    def add_unit(self, conv: nn.Conv2d) -> None:
        """Append a convolution and its norm, `conv<i>` and `bn<i>`, to the branch."""
        number = len(self.units) + 1
        short_name, norm = build_norm(self.options.norm_cfg, conv.out_channels)
        self.units.append((f"conv{number}", f"{short_name}{number}"))
        self.add_module(f"conv{number}", conv)
        self.add_module(f"{short_name}{number}", norm)

    def add_shortcut(self) -> None:
        """Add a projection to the shortcut if its size or width changes."""
        place, options = self.place, self.options
        out_channels = place.channels * self.expansion
        if place.stride == 1 and place.in_channels == out_channels:
            self.downsample = None
            return
        stride, layers = place.stride, []
        if options.avg_down:
            layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True))
            stride = 1
        layers.append(nn.Conv2d(place.in_channels, out_channels, 1, stride, bias=False))
        layers.append(build_norm(options.norm_cfg, out_channels)[1])
        self.downsample = nn.Sequential(*layers)

    def unit(self, index: int, x: Tensor) -> Tensor:
        """Apply convolution and norm number `index` (from 0), then ReLU except after the last."""
        conv, norm = self.units[index]
        x = self.get_submodule(norm)(self.get_submodule(conv)(x))
        return x if index == len(self.units) - 1 else F.relu(x, inplace=True)

    def branch(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W'), before the addition."""
        for index in range(len(self.units)):
            x = self.unit(index, x)
        return x

    def _run(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.branch(x) + shortcut, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        if self.options.with_cp and torch.is_grad_enabled():
            return recompute_later(self, self._run, x)
        return self._run(x)


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions; only the first has the stride and the dilation."""

    def __init__(self, place: Place, options: BlockOptions) -> None:
        super().__init__(place, options)
        self.add_unit(conv3x3(place.in_channels, place.channels, place.stride, place.dilation))
        self.add_unit(conv3x3(place.channels, place.channels))
        self.add_shortcut()


class Bottleneck(ResidualBlock):
    """1×1, 3×3 and 1×1 convolutions; the middle one may be grouped (ResNeXt)."""

    expansion = 4

    def __init__(self, place: Place, options: BlockOptions) -> None:
        super().__init__(place, options)
        self.width = place.channels
        if options.groups > 1:
            self.width = int(place.channels * options.width_ratio) * options.groups
        first_stride, self.inner_stride = 1, place.stride
        if options.is_caffe:
            first_stride, self.inner_stride = place.stride, 1
        self.add_unit(nn.Conv2d(place.in_channels, self.width, 1, first_stride, bias=False))
        self.add_inner()
        self.add_unit(nn.Conv2d(self.width, place.channels * self.expansion, 1, bias=False))
        self.add_shortcut()

    def add_inner(self) -> None:
        """Add the 3×3 convolution, `width` channels in and out, with stride `inner_stride`."""
        sampling = (self.inner_stride, self.place.dilation, self.options.groups)
        self.add_unit(conv3x3(self.width, self.width, *sampling))


def recompute_later(module: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return `run(x)` and keep only `x`; the backward pass calls `run(x)` again.

    The second call leaves the running statistics of `module`'s batch norms alone, so training gives
    the same numbers with and without gradient checkpointing.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _spare_statistics(module)

    # Blocks draw no random numbers, so no generator state has to be kept.
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    output: Any = checkpoint(run, x, context_fn=contexts, **options)
    return output


@contextmanager
def _spare_statistics(module: nn.Module) -> Iterator[None]:
    """Let the batch norms of `module` update copies of their running statistics, then drop them.

    The originals are not touched in place: autograd may have saved them.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    originals = [dict(norm.named_buffers()) for norm in norms]
    _set_buffers(norms, [{k: v.clone() for k, v in buffers.items()} for buffers in originals])
    try:
        yield
    finally:
        _set_buffers(norms, originals)


def _set_buffers(modules: Sequence[nn.Module], values: Sequence[Mapping[str, Tensor]]) -> None:
    for module, buffers in zip(modules, values, strict=True):
        for name, value in buffers.items():
            setattr(module, name, value)
