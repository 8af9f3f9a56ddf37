"""Change the size or the layout of images and feature maps.

Legend: N images, C channels, H×W pixels, L = H·W tokens.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Box = tuple[int, int, int, int]  # (y1, y2, x1, x2), ends exclusive


def resize(x: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Resample (N, C, h, w) to (N, C, *size), bilinear without anti-aliasing."""
    if _is_size(x, size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def size_of(sides: int | Sequence[int]) -> tuple[int, int]:
    """Return (rows, columns) of what a config states as one side, or as both.

    >>> size_of(224), size_of([32, 64])
    ((224, 224), (32, 64))
    """
    return (sides, sides) if isinstance(sides, int) else (sides[0], sides[1])


def is_exporting() -> bool:
    """Tell whether torch.export traces the network, perhaps for images of any size."""
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


def have_one_size(x: Tensor, y: Tensor) -> bool:
    """Tell whether two maps have the same (H, W); False if an exported network takes any."""
    return _is_size(x, (y.shape[2], y.shape[3]))


def _is_size(x: Tensor, size: tuple[int, int]) -> bool:
    return _is_sure(x.shape[2] == size[0]) and _is_sure(x.shape[3] == size[1])


def _is_sure(claim: bool | torch.SymBool) -> bool:
    """Tell whether a claim about sizes holds; in an exported network, for images of any size."""
    if not isinstance(claim, torch.SymBool):
        return claim
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(claim)


def hide_pixels(img: Tensor, keep_mask: Tensor) -> Tensor:
    """Set the pixels of (N, C, H, W) to 0 in the blocks where `keep_mask` (N, 1, h, w) is 0.

    Its other entries are 1. Blocks are of nearly the same size: H/h × W/w pixels, rounded.
    """
    if keep_mask.ndim != 4 or keep_mask.shape[:2] != (len(img), 1):
        raise ValueError(
            f"expected a keep_mask of shape ({len(img)}, 1, rows, columns), got "
            f"{tuple(keep_mask.shape)}. Give one mask per image."
        )
    size = (img.shape[2], img.shape[3])
    return img * F.interpolate(keep_mask.to(img.dtype), size=size, mode="nearest")


def join(maps: Sequence[Tensor], align_corners: bool = False) -> Tensor:
    """Resize maps (N, C, H, W) of any C to the size of the first, and join their channels."""
    size = (maps[0].shape[2], maps[0].shape[3])
    resized = [resize(x, size, align_corners) for x in maps]
    for x, given in zip(resized, maps, strict=True):
        if x.device.type == "cpu" and x is not given and x.requires_grad:
            # The gradient is a part of that of the joined map. Unless it is copied out,
            # interpolation on a CPU takes a path that is 20 times as slow.
            x.register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))
    return torch.cat(resized, dim=1)


def cut(x: Tensor, box: Box) -> Tensor:
    """Return the part of (..., H, W) that lies in a box."""
    y1, y2, x1, x2 = box
    return x[..., y1:y2, x1:x2]


def tokens_to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn tokens (N, H·W, C) into a map (N, C, H, W) in the layout that suits convolutions.

    On a CPU that is a channels-last view of the tokens, without a copy: there, depth-wise
    convolutions run about three times as fast on it. Elsewhere it is a contiguous map, because
    CUDA's depth-wise kernels are written for that layout.
    """
    # In this order, the view of one image has the strides by which torch knows the layout.
    view = tokens.unflatten(1, size).permute(0, 3, 1, 2)
    return view if tokens.device.type == "cpu" else view.contiguous()


def map_to_tokens(feature: Tensor) -> Tensor:
    """Turn a map (N, C, H, W) into tokens (N, H·W, C); no copy if the map is channels-last."""
    return feature.flatten(2).transpose(1, 2)


def gelu_to_tokens(feature: Tensor) -> Tensor:
    """Return GELU of a map (N, C, H, W) as contiguous tokens (N, H·W, C)."""
    if feature.device.type == "cpu" or torch.compiler.is_compiling():
        return map_to_tokens(F.gelu(feature))
    return _GELUToTokens.apply(feature)  # pyright: ignore[reportReturnType]


class _GELUToTokens(torch.autograd.Function):
    """GELU that changes the layout as it writes, forward and backward, instead of by copies."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        n, c, *size = feature.shape
        ctx.save_for_backward(feature)
        tokens = feature.new_empty(n, math.prod(size), c)
        return torch.ops.aten.gelu.out(map_to_tokens(feature), out=tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        into = torch.empty_like(feature)
        views = map_to_tokens(feature), map_to_tokens(into)
        torch.ops.aten.gelu_backward.grad_input(grad, views[0], grad_input=views[1])
        return into
