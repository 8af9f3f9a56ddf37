"""The head of VFM-UDA: the last feature of a plain ViT, enlarged twice by 2.

Legend: N images, K channels of the feature, C classes, h×w patches.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmseg.config.registry import HEADS
from mmseg.config.values import Count
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.pyramid_head import draw_classifier
from mmseg.models.layers import ChannelNorm
from mmseg.system.errors import ConfigError


@HEADS.register()
class LightHead(BaseDecodeHead):
    """Two transposed convolutions, each halving the channels, and a convolution.

    Args:
        in_channels: K, a multiple of 4; of the feature after the ViT's last norm (final_norm=True).
        num_classes: C.
        kwargs: as for `BaseDecodeHead`.
    """

    def __init__(self, in_channels: Count, num_classes: Count, **kwargs: Any) -> None:
        if in_channels % 4:
            raise ConfigError(
                f"expected in_channels of a LightHead that 4 divides, got {in_channels}. Use a "
                "backbone with such a width."
            )
        half, quarter = in_channels // 2, in_channels // 4
        options: dict[str, Any] = {"channels": quarter, "dropout_ratio": 0, **kwargs}
        super().__init__(in_channels=in_channels, num_classes=num_classes, **options)
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(in_channels, half, 2, 2, bias=False),
            ChannelNorm(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, 2, bias=False),
            ChannelNorm(quarter),
            nn.Conv2d(quarter, quarter, 3, padding=1, bias=False),
            ChannelNorm(quarter),
        )
        self.conv_seg = nn.Conv2d(quarter, num_classes, 1, bias=False)

    def init_weights(self) -> None:
        """Draw the classifier from N(0, 0.1); the other layers start as torch has them."""
        draw_classifier(self.conv_seg)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the feature to logits (N, C, 4h, 4w)."""
        return self.cls_seg(self.upscale(self.select_inputs(inputs)[0]))
