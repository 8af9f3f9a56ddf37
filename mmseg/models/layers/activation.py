"""Build an activation from a config's `act_cfg`."""

from collections.abc import Mapping
from typing import Annotated, Any

from torch import nn

from mmseg.config.registry import Registry
from mmseg.config.values import Section

ACTIVATIONS = Registry("activation", supplied=("device", "dtype"))
ActCfg = Annotated[Section, ACTIVATIONS.checked]
for _layer in (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.ELU):
    ACTIVATIONS.register()(_layer)
for _layer in (nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.Hardswish):
    ACTIVATIONS.register(inert=("inplace",))(_layer)

RELU: Mapping[str, Any] = {"type": "ReLU"}


def build_activation(cfg: Mapping[str, Any]) -> nn.Module:
    """Return the layer that an `act_cfg` describes, working in place if it can."""
    inplace = {"inplace": True} if cfg.get("type") not in ("PReLU", None) else {}
    return ACTIVATIONS.build({**inplace, **cfg})
