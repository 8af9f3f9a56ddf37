"""Stochastic depth: skip a residual branch for some samples of the batch during training.

Legend: N samples, K branches.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmseg.models.layers.single_precision import full_precision
from mmseg.system.errors import ConfigError

# Classes of ours and of timm, which is not imported for the sake of their names.
RANDOM_LAYERS = ("DropPath", "StochasticDepth", "DropBlock2d", "PatchDropout")
RANDOM_LAYERS += ("PatchDropoutWithIndices",)
LEAST = 1e-12  # nothing can be divided by 0


class DropPath(nn.Module):
    """In training mode, zero samples with probability `drop_prob` and scale the others up.

    The draws come from torch's global generator for the tensor's device.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        self.drop_prob = _checked(drop_prob)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (N, ...) with some samples zeroed, the others divided by 1 - drop_prob."""
        if not self.training or self.drop_prob == 0:
            return x
        keep = 1.0 - self.drop_prob
        scale = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)  # (N, 1, ...)
        return x * scale.div_(max(keep, LEAST))

    def extra_repr(self) -> str:
        """Show the rate when the network is printed."""
        return f"drop_prob={self.drop_prob:.3f}"


class StochasticDepth(nn.Module):
    """`DropPath` for all K branches of a network, whose draws are made together.

    One by one, they would be a third of the work that a GPU is given in a forward pass.
    """

    keep: Tensor  # (number of rates above 0, 1, 1, 1)

    def __init__(self, rates: Sequence[float]) -> None:
        super().__init__()
        self.rates = tuple(map(_checked, rates))
        keep = [1.0 - rate for rate in rates if rate > 0]
        self.register_buffer("keep", torch.tensor(keep).view(-1, 1, 1, 1), persistent=False)

    def forward(self, batch: int) -> list[Tensor | None]:
        """Return the K factors (N, 1, 1) for a batch of N; None stands for 1."""
        factors: list[Tensor | None] = [None] * len(self.rates)
        if self.training and len(self.keep):
            kept = torch.bernoulli(self.keep.expand(-1, batch, 1, 1))
            scales = iter((kept / self.keep.clamp(min=LEAST)).unbind())
            factors = [next(scales) if rate > 0 else None for rate in self.rates]
        return factors

    def extra_repr(self) -> str:
        """Show the rates when the network is printed."""
        return f"rates={[round(rate, 3) for rate in self.rates]}"


def add_branch(x: Tensor, branch: Tensor, factor: Tensor | None) -> Tensor:
    """Return x + factor·branch in the dtype of `x`; both are (N, L, C), the factor is (N, 1, 1)."""
    if factor is None:
        return x + branch
    if torch.compiler.is_compiling():
        return x + branch * factor
    return _AddBranch.apply(x, branch, factor)  # pyright: ignore[reportReturnType]


class _AddBranch(torch.autograd.Function):
    """One operation forward and one backward, also for a branch in half precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        ctx.dtype = branch.dtype
        if branch.dtype == x.dtype:
            return torch.addcmul(x, branch, factor)
        with full_precision(x.device):  # autocast would first copy the branch as float32
            return torch.addcmul(x, branch, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (factor,) = ctx.saved_tensors
        into = torch.empty_like(grad, dtype=ctx.dtype)
        return grad, torch.mul(grad, factor, out=into), None


def is_random_layer(module: nn.Module) -> bool:
    """Tell whether a layer draws random numbers in training mode, as dropout does."""
    is_dropout = isinstance(module, nn.modules.dropout._DropoutNd)
    return is_dropout or type(module).__name__ in RANDOM_LAYERS


def _checked(rate: float) -> float:
    if not 0.0 <= rate <= 1.0:
        raise ConfigError(
            f"expected a stochastic depth rate between 0 and 1, got {rate}; "
            "set drop_path_rate accordingly."
        )
    return rate
