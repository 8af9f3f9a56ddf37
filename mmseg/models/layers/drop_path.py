"""Stochastic depth: skip a residual branch for some samples of the batch during training."""

from torch import Tensor, nn

from mmseg.system.errors import ConfigError


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples of `x` (N, ...) with probability `rate`; scale the others by 1/(1−rate).

    The draws come from torch's global generator of the tensor's device.
    """
    keep = 1.0 - rate
    scale = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)  # (N, 1, ...)
    return x * scale.div_(max(keep, 1e-12))


class DropPath(nn.Module):
    """`drop_path` in training mode, identity in evaluation mode (or with rate 0)."""

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= drop_prob <= 1.0:
            raise ConfigError(
                f"expected a stochastic depth rate between 0 and 1, got {drop_prob}; "
                "set drop_path_rate accordingly."
            )
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (N, ...) with some samples zeroed."""
        return drop_path(x, self.drop_prob) if self.training and self.drop_prob > 0 else x

    def extra_repr(self) -> str:
        """Show the rate when the network is printed."""
        return f"drop_prob={self.drop_prob:.3f}"
