"""Stochastic depth: skip a residual branch for some samples of the batch during training."""

from torch import Tensor, nn

from mmseg.system.errors import ConfigError

# Classes of ours and of timm, which is not imported for the sake of their names.
RANDOM_LAYERS = ("DropPath", "DropBlock2d", "PatchDropout", "PatchDropoutWithIndices")


class DropPath(nn.Module):
    """In training mode, zero samples with probability `drop_prob` and scale the others up.

    The draws come from torch's global generator for the tensor's device.
    """

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= drop_prob <= 1.0:
            raise ConfigError(
                f"expected a stochastic depth rate between 0 and 1, got {drop_prob}; "
                "set drop_path_rate accordingly."
            )
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (N, ...) with some samples zeroed, the others divided by 1 - drop_prob."""
        if not self.training or self.drop_prob == 0:
            return x
        keep = 1.0 - self.drop_prob
        scale = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep)  # (N, 1, ...)
        return x * scale.div_(max(keep, 1e-12))

    def extra_repr(self) -> str:
        """Show the rate when the network is printed."""
        return f"drop_prob={self.drop_prob:.3f}"


def is_random_layer(module: nn.Module) -> bool:
    """Tell whether a layer draws random numbers in training mode, as dropout does."""
    is_dropout = isinstance(module, nn.modules.dropout._DropoutNd)
    return is_dropout or type(module).__name__ in RANDOM_LAYERS
