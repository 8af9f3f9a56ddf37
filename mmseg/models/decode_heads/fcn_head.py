"""The fully convolutional head: a few convolutions, as main or as auxiliary head.

Legend: N images, C classes, h×w pixels of the feature.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import HEADS
from mmseg.config.values import Count, Index
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.layers import ConvModule
from mmseg.system.errors import ConfigError


@HEADS.register()
class FCNHead(BaseDecodeHead):
    """Convolve `num_convs` times, perhaps join the input again, classify.

    Args:
        num_convs: how many; 0 classifies the feature as it is.
        kernel_size: of all convolutions.
        concat_input: whether one more convolution sees the input beside the last output.
        dilation: of all convolutions but that one.
        kwargs: as for `BaseDecodeHead`.
    """

    def __init__(
        self,
        num_convs: Index = 2,
        kernel_size: Count = 3,
        concat_input: bool = True,
        dilation: Count = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        width, channels = self.single_width, self.channels
        if num_convs == 0 and width != channels:
            raise ConfigError(
                f"FCNHead: expected channels={width} as in_channels, because num_convs=0 changes "
                f"nothing, got channels={channels}. Make them equal, or raise num_convs."
            )
        options: dict[str, Any] = {"conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg}
        options["act_cfg"] = self.act_cfg
        spread: dict[str, Any] = {"padding": kernel_size // 2 * dilation, "dilation": dilation}
        widths = [width, *[channels] * num_convs]
        self.convs = nn.Sequential(
            *(ConvModule(w, channels, kernel_size, **spread, **options) for w in widths[:-1])
        )
        self.conv_cat: nn.Module | None = None
        if concat_input:
            options["padding"] = kernel_size // 2
            self.conv_cat = ConvModule(width + channels, channels, kernel_size, **options)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""
        feature = self.select_inputs(inputs)[0]
        output = self.convs(feature)
        if self.conv_cat is not None:
            output = self.conv_cat(torch.cat([feature, output], dim=1))
        return self.cls_seg(output)
