"""Build a normalization layer from a config's `norm_cfg`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg.registry import Registry

NORMS = Registry("norm")


@NORMS.register("SyncBN")
class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm over all processes; plain batch norm where there is only one (a CPU included)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, ...) features."""
        distributed = torch.distributed
        ready = distributed.is_available() and distributed.is_initialized()
        if ready and distributed.get_world_size() > 1:
            return super().forward(input)
        return _BatchNorm.forward(self, input)


NORMS.register("BN")(nn.BatchNorm2d)
NORMS.register("IN")(nn.InstanceNorm2d)
NORMS.register("GN")(nn.GroupNorm)
NORMS.register("LN")(nn.LayerNorm)

_STATE_NAMES = {"BN": "bn", "SyncBN": "bn", "IN": "in", "GN": "gn", "LN": "ln"}


def build_norm(cfg: Mapping[str, Any], channels: int) -> tuple[str, nn.Module]:
    """Return (attribute name used in state dicts, layer) for a `norm_cfg` and a channel count.

    `requires_grad=False` freezes the affine parameters; the other keys go to the layer.

    >>> build_norm(dict(type='BN', requires_grad=True), 8)[0]
    'bn'
    """
    options = {key: value for key, value in cfg.items() if key != "requires_grad"}
    size = {"GN": "num_channels", "LN": "normalized_shape"}.get(cfg.get("type", ""), "num_features")
    layer = NORMS.build({**options, size: channels})
    for parameter in layer.parameters():
        parameter.requires_grad_(cfg.get("requires_grad", True))
    return _STATE_NAMES.get(cfg["type"], "norm"), layer
