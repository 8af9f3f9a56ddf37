"""3×3 convolutions on a CPU by Winograd's minimal filtering F(2×2, 3×3).

Tiles of 2×2 outputs see 4×4 inputs. In a transformed space, both the convolution and its gradients
are 16 products of matrices: 16 multiplications per tile where the plain way takes 36. Rounding
errors grow by about two thirds.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016: input BᵀdB
(`_spread`), weight GgGᵀ (`_spread_weight`), output AᵀMA (`_gather`), their transposes in gradients.

Legend: N images, C input and D output channels, H×W pixels, T tiles.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 16  # of tiles at a time, so that what is spread stays small
G = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
GG = torch.einsum("ai,bj->abij", G, G).reshape(16, 9)


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C, H, W) with (D, C, 3, 3), stride and padding 1, to (N, D, H, W).

    The result is channels-last. Floating point of at least 32 bits, on a CPU.
    """
    return _Conv3x3.apply(x, weight)  # pyright: ignore[reportReturnType]


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        # What is spread is made again in the backward pass: it is four times as large as x.
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _convolve(grad, weight.flip(2, 3).transpose(0, 1))
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad)
        return grad_x, grad_weight


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    n, _, height, width = x.shape
    spread_weight = _spread_weight(weight)
    y = x.new_empty(n, height, width, len(weight))
    for rows, tiles in _bands(x):
        _gather(torch.bmm(_spread(tiles), spread_weight), y[:, rows])
    return y.permute(0, 3, 1, 2)


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    products = x.new_zeros(16, grad.shape[1], x.shape[1])
    y_grad = grad.permute(0, 2, 3, 1)
    for rows, tiles in _bands(x):
        products.baddbmm_(_spread_output(y_grad[:, rows]).transpose(1, 2), _spread(tiles))
    return (products.flatten(1).t() @ GG.to(x)).view(grad.shape[1], x.shape[1], 3, 3)


def _bands(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of the output and what they see of x: (N, 2 t + 2, W + 2 or 3, C), padded."""
    channels_last = x.permute(0, 2, 3, 1)
    _, height, width, _ = channels_last.shape
    for start in range(0, height, 2 * ROWS):
        end = min(start + 2 * ROWS, height)
        below = end + 1 + (end - start) % 2 - height  # rows of the padding
        seen = channels_last[:, max(start - 1, 0) : end + 1]
        padding = (0, 0, 1, 1 + width % 2, int(start == 0), max(below, 0))
        yield slice(start, end), F.pad(seen, padding)


def _spread(x: Tensor) -> Tensor:
    """Transform padded inputs (N, 2 t + 2, 2 u + 2, C) to (16, T, C)."""
    n, rows, columns, channels = x.shape
    out = x.new_empty(4, 4, n, rows // 2 - 1, columns // 2 - 1, channels)
    a, b, c, d = x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2], x[:, 3::2]
    for into, row in zip(out, (a - c, b + c, c - b, b - d), strict=True):
        a, b, c, d = row[:, :, :-2:2], row[:, :, 1:-1:2], row[:, :, 2::2], row[:, :, 3::2]
        torch.sub(a, c, out=into[0])
        torch.add(b, c, out=into[1])
        torch.sub(c, b, out=into[2])
        torch.sub(b, d, out=into[3])
    return out.flatten(2, 4).flatten(0, 1)


def _spread_weight(weight: Tensor) -> Tensor:
    """Transform (D, C, 3, 3) to (16, C, D)."""
    flat = GG.to(weight) @ weight.reshape(-1, 9).t()
    return flat.view(16, *weight.shape[:2]).transpose(1, 2)


def _gather(products: Tensor, y: Tensor) -> None:
    """Transform (16, T, D) to outputs, and write these into y (N, H, W, D)."""
    n, height, width, channels = y.shape
    t, u = (height + 1) // 2, (width + 1) // 2
    m = products.view(4, 4, n, t, u, channels)
    for i, row in enumerate(((m[0] + m[1]).add_(m[2]), (m[1] - m[2]).sub_(m[3]))):
        into = y[:, i::2]
        row = row[:, :, : into.shape[1]]
        torch.add(row[0], row[1], out=into[:, :, ::2]).add_(row[2])
        row = row[..., : width // 2, :]
        torch.sub(row[1], row[2], out=into[:, :, 1::2]).sub_(row[3])


def _spread_output(grad: Tensor) -> Tensor:
    """Transform gradients of outputs (N, H, W, D) to (16, T, D)."""
    n, height, width, channels = grad.shape
    grad = F.pad(grad, (0, 0, 0, width % 2, 0, height % 2))
    out = grad.new_empty(4, 4, n, (height + 1) // 2, (width + 1) // 2, channels)
    a, b = grad[:, ::2], grad[:, 1::2]
    for into, row in zip(out, (a, a + b, a - b, -b), strict=True):
        a, b = row[:, :, ::2], row[:, :, 1::2]
        into[0] = a
        torch.add(a, b, out=into[1])
        torch.sub(a, b, out=into[2])
        torch.neg(b, out=into[3])
    return out.flatten(2, 4).flatten(0, 1)
