"""The layer types with which `DAFormerHead` can embed a level or fuse the levels.

Each is a function or class (in_channels, out_channels, **options of the config) → module that maps
(N, in_channels, H, W) to (N, out_channels, H, W).
"""

from typing import Annotated, Any

from torch import Tensor, nn

from mmseg.config.registry import Registry
from mmseg.config.values import Count, Counts, Section
from mmseg.models.decode_heads.aspp_layer import ASPPLayer
from mmseg.models.decode_heads.isa_layer import ISALayer
from mmseg.models.layers import (
    RELU,
    ActCfg,
    ConvModule,
    DepthwiseSeparableConvModule,
    NormCfg,
    map_to_tokens,
    tokens_to_map,
)
from mmseg.system.errors import ConfigError

FUSION_LAYERS = Registry("fusion layer", supplied=("in_channels", "out_channels"))
FusionCfg = Annotated[Section, FUSION_LAYERS.checked]


def build_fusion_layer(cfg: Section, in_channels: int, out_channels: int) -> nn.Module:
    """Build the layer that `cfg` names by `type`, between the given numbers of channels."""
    return FUSION_LAYERS.build(cfg, in_channels=in_channels, out_channels=out_channels)


@FUSION_LAYERS.register("id", inert=("norm_cfg", "act_cfg"))
class IdentityLayer(nn.Identity):
    """Pass the map on; the channels must not change."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if in_channels != out_channels:
            raise ConfigError(
                f"expected as many output as input channels for a layer of type 'id', got "
                f"{in_channels} -> {out_channels}; use 'mlp' or 'conv', or change the channels."
            )


@FUSION_LAYERS.register("mlp", inert=("norm_cfg", "act_cfg"))
class MLP(nn.Module):
    """One linear layer per pixel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        return tokens_to_map(self.proj(map_to_tokens(x)), (x.shape[2], x.shape[3]))


@FUSION_LAYERS.register("conv")
def conv(
    in_channels: int,
    out_channels: int,
    kernel_size: Count = 1,
    norm_cfg: NormCfg | None = None,
    act_cfg: ActCfg | None = RELU,
) -> nn.Module:
    """Return a convolution that keeps the size."""
    options: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
    return ConvModule(in_channels, out_channels, kernel_size, 1, kernel_size // 2, **options)


@FUSION_LAYERS.register("sep_conv")
def sep_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: Count = 3,
    norm_cfg: NormCfg | None = None,
    act_cfg: ActCfg | None = RELU,
) -> nn.Module:
    """Return a depth-wise separable convolution that keeps the size."""
    channels, options = (in_channels, out_channels), (norm_cfg, act_cfg)
    sampling = (kernel_size, 1, kernel_size // 2, 1)  # stride 1, dilation 1
    return DepthwiseSeparableConvModule(*channels, *sampling, *options)


@FUSION_LAYERS.register("aspp", inert=("align_corners",))
def aspp(
    in_channels: int,
    out_channels: int,
    sep: bool,
    dilations: Counts,
    pool: bool,
    context_cfg: FusionCfg | None = None,
    norm_cfg: NormCfg | None = None,
    act_cfg: ActCfg | None = RELU,
) -> nn.Module:
    """Return an `ASPPLayer`; `context_cfg` describes a further layer whose output joins."""
    context = None
    if context_cfg is not None:
        context = build_fusion_layer(context_cfg, in_channels, out_channels)
    return ASPPLayer(in_channels, out_channels, sep, dilations, pool, context, norm_cfg, act_cfg)


@FUSION_LAYERS.register("rawconv_and_aspp", inert=("align_corners",))
def rawconv_and_aspp(
    in_channels: int,
    out_channels: int,
    sep: bool,
    dilations: Counts,
    pool: bool,
    kernel_size: Count = 1,
    context_cfg: FusionCfg | None = None,
    norm_cfg: NormCfg | None = None,
    act_cfg: ActCfg | None = RELU,
) -> nn.Module:
    """Return a plain convolution (no norm, no activation) followed by an `ASPPLayer`."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
        aspp(out_channels, out_channels, sep, dilations, pool, context_cfg, norm_cfg, act_cfg),
    )


FUSION_LAYERS.register("isa")(ISALayer)
