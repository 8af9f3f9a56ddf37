"""Convolution + norm + activation, under the state-dict names of mmcv's `ConvModule`.

Legend: N images, C channels, H×W pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from mmseg.config.checking import check_section, checked
from mmseg.config.values import Section
from mmseg.models.layers.activation import RELU, build_activation
from mmseg.models.layers.convolution import Conv2d
from mmseg.models.layers.norm import build_norm


@dataclass(frozen=True)
class ConvKeys:
    """The kind of a convolution; there is one."""

    type: Literal["Conv2d", "Conv"]


ConvCfg = Annotated[Section, checked(ConvKeys, "conv_cfg")]


class ConvModule(nn.Module):
    """Convolve, normalize, activate; starts from Kaiming-normal weights (fan out).

    `bias='auto'` gives the convolution a bias exactly when no norm follows. The norm is stored
    under its short name (`bn`, `gn`, ...), as published checkpoints have it. `conv_cfg`, which
    heads of forks pass on, may only name the plain convolution; `ConfigError` for another.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool | str = "auto",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
    ) -> None:
        super().__init__()
        if conv_cfg is not None:
            check_section(conv_cfg, ConvKeys, "conv_cfg")
        has_bias = norm_cfg is None if bias == "auto" else bool(bias)
        sampling = (kernel_size, stride, padding, dilation, groups)
        self.conv = Conv2d(in_channels, out_channels, *sampling, bias=has_bias)
        self.norm_name = ""
        if norm_cfg is not None:
            self.norm_name, norm = build_norm(norm_cfg, out_channels)
            self.add_module(self.norm_name, norm)
        self.activate = build_activation(act_cfg) if act_cfg is not None else None
        slope, kind = 0.0, "relu"
        if act_cfg is not None and act_cfg.get("type") == "LeakyReLU":
            slope, kind = act_cfg.get("negative_slope", 0.01), "leaky_relu"
        nn.init.kaiming_normal_(self.conv.weight, slope, "fan_out", kind)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        x = self.conv(x)
        x = self.get_submodule(self.norm_name)(x) if self.norm_name else x
        return x if self.activate is None else self.activate(x)


class DepthwiseSeparableConvModule(nn.Module):
    """A depth-wise `ConvModule` (one filter per channel), then a point-wise one (1×1)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
        sampling = (kernel_size, stride, padding, dilation, in_channels)  # one group per channel
        self.depthwise_conv = ConvModule(in_channels, in_channels, *sampling, **options)
        self.pointwise_conv = ConvModule(in_channels, out_channels, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        return self.pointwise_conv(self.depthwise_conv(x))
