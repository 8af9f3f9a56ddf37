"""Build a normalization layer from a config's `norm_cfg`; synchronize batch norms on request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg.config.registry import Registry
from mmseg.config.values import Count, Positive, Section, Share
from mmseg.system.errors import ConfigError
from mmseg.system.processes import world_size

SIZES = ("num_features", "num_channels", "normalized_shape")
NORMS = Registry("norm", supplied=SIZES)
NormCfg = Annotated[Section, NORMS.checked]
# Over all processes, and slow, because a batch has few images: that of VFM-UDA++.
SLOW_SYNC_BN: Mapping[str, Any] = {"type": "SyncBN", "momentum": 0.01}


@dataclass(frozen=True)
class NormKeys:
    """The keys that every norm has."""

    eps: Positive = 1e-5
    requires_grad: bool = True


@dataclass(frozen=True)
class BatchNormKeys(NormKeys):
    """The keys of batch norms."""

    momentum: Share | None = 0.1  # None: the mean of all batches
    affine: bool = True
    track_running_stats: bool = True


@dataclass(frozen=True)
class InstanceNormKeys(NormKeys):
    """The keys of instance norms."""

    momentum: Share = 0.1
    affine: bool = False
    track_running_stats: bool = False


@dataclass(frozen=True, kw_only=True)
class GroupNormKeys(NormKeys):
    """The keys of group norms."""

    num_groups: Count
    affine: bool = True


@dataclass(frozen=True)
class LayerNormKeys(NormKeys):
    """The keys of layer norms."""

    elementwise_affine: bool = True
    bias: bool = True


@NORMS.register("SyncBN", reader=BatchNormKeys)
class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm over all processes; plain batch norm where there is only one (a CPU included)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, ...) features."""
        if world_size() > 1:
            return super().forward(input)
        return _BatchNorm.forward(self, input)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every pixel, eps 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C, H, W)."""
        return super().forward(input.movedim(1, 3)).movedim(3, 1)


NORMS.register("BN", reader=BatchNormKeys)(nn.BatchNorm2d)
NORMS.register("IN", reader=InstanceNormKeys)(nn.InstanceNorm2d)
NORMS.register("GN", reader=GroupNormKeys)(nn.GroupNorm)
NORMS.register("LN", reader=LayerNormKeys)(nn.LayerNorm)

STATE_NAMES = {"BN": "bn", "SyncBN": "bn", "IN": "in", "GN": "gn", "LN": "ln"}


def build_norm(cfg: Mapping[str, Any], channels: int) -> tuple[str, nn.Module]:
    """Return (attribute name used in state dicts, layer) for a `norm_cfg` and a channel count.

    `requires_grad=False` freezes the affine parameters; the other keys go to the layer.

    >>> build_norm(dict(type='BN', requires_grad=True), 8)[0]
    'bn'
    """
    options = {key: value for key, value in cfg.items() if key != "requires_grad"}
    layer = NORMS.build(options, **dict.fromkeys(SIZES, channels))
    for parameter in layer.parameters():
        parameter.requires_grad_(cfg.get("requires_grad", True))
    return STATE_NAMES.get(cfg["type"], "norm"), layer


def synchronize_batch_norm(method: nn.Module, is_wanted: bool, device: torch.device) -> None:
    """Synchronize the batch norms of `method` over all processes if `is_wanted` (`cfg.sync_bn`).

    Otherwise, every process normalizes with its own images. The teacher's are synchronized too,
    because it uses batch statistics. State dicts keep their names and values.

    Raises `ConfigError` without GPUs, where torch cannot synchronize several processes.
    """
    if world_size() == 1:
        return
    has_some = any(isinstance(module, nn.SyncBatchNorm) for module in method.modules())
    if device.type != "cuda" and (is_wanted or has_some):
        cause = "sync_bn=True" if is_wanted else "norm_cfg type='SyncBN'"
        raise ConfigError(
            f"{cause}: expected a GPU for each of the {world_size()} processes, got the CPU, where "
            "torch has no synchronized batch norm; set sync_bn=False and norm_cfg type='BN', or "
            "start one process."
        )
    if is_wanted and any(type(m).__module__.startswith("timm.") for m in method.modules()):
        from timm.layers.norm_act import convert_sync_batchnorm

        convert_sync_batchnorm(method)  # torch's would drop activations that are part of a norm
    elif is_wanted:
        nn.SyncBatchNorm.convert_sync_batchnorm(method)
