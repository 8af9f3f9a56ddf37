"""Atrous spatial pyramid pooling: parallel convolutions that look at different distances.

Legend: N images, C channels, H×W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.models.decode_heads.pooling import PooledConv
from mmseg.models.layers import (
    RELU,
    ConvModule,
    DepthwiseSeparableConvModule,
    uses_plain_convolutions,
)


def aspp_branches(
    in_channels: int,
    channels: int,
    dilations: Sequence[int],
    separable: bool,
    norm_cfg: Mapping[str, Any] | None,
    act_cfg: Mapping[str, Any] | None,
) -> nn.ModuleList:
    """Return one branch per dilation: 1×1 for dilation 1, dilated 3×3 for the others."""
    options: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
    wide = DepthwiseSeparableConvModule if separable else ConvModule
    return nn.ModuleList(
        ConvModule(in_channels, channels, 1, **options)
        if dilation == 1
        else wide(in_channels, channels, 3, padding=dilation, dilation=dilation, **options)
        for dilation in dilations
    )


class ASPPLayer(nn.Module):
    """Concatenate [pooled, context, branches], then mix them with a 3×3 bottleneck.

    Args:
        sep: whether the dilated branches are depth-wise separable.
        dilations: one branch each.
        pool: whether to add a branch with the mean of the whole map.
        context_layer: another layer in_channels → out_channels to add as a branch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sep: bool,
        dilations: Sequence[int],
        pool: bool,
        context_layer: nn.Module | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.is_separable = sep
        self.image_pool = None
        if pool:
            self.image_pool = PooledConv(in_channels, out_channels, 1, **options)
        self.context_layer = context_layer
        self.aspp_modules = aspp_branches(in_channels, out_channels, dilations, sep, **options)
        width = (len(dilations) + int(pool) + int(context_layer is not None)) * out_channels
        self.bottleneck = ConvModule(width, out_channels, 3, padding=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        if self.is_separable and uses_plain_convolutions(x):
            # Dilated depth-wise convolutions are written for this layout. The map is converted
            # once for all branches.
            x = x.contiguous()
        outputs = []
        if self.image_pool is not None:
            outputs.append(self.image_pool(x))
        if self.context_layer is not None:
            outputs.append(self.context_layer(x))
        outputs.extend(branch(x) for branch in self.aspp_modules)
        return self.bottleneck(torch.cat(outputs, dim=1))
