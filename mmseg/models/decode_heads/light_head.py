"""The head of VFM-UDA: the last feature of a plain ViT, enlarged twice by 2.

Legend: N images, K channels of the feature, C classes, h×w patches.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor, nn

from mmseg.config.registry import HEADS, LOSSES
from mmseg.config.values import Count, Label, Section
from mmseg.models.decode_heads.decode_head import CROSS_ENTROPY, BaseDecodeHead
from mmseg.models.decode_heads.pyramid_head import draw_classifier
from mmseg.models.layers import ChannelNorm
from mmseg.models.losses import SamplerCfg
from mmseg.system.errors import ConfigError


@HEADS.register()
class LightHead(BaseDecodeHead):
    """Two transposed convolutions, each halving the channels, and a convolution.

    Args:
        in_channels: K, a multiple of 4; of the feature after the ViT's last norm (final_norm=True).
        num_classes: C.
        in_index, loss_decode, ignore_index, align_corners, sampler: as for `BaseDecodeHead`.
    """

    def __init__(
        self,
        in_channels: Count,
        num_classes: Count,
        in_index: int = -1,
        loss_decode: Annotated[Section, LOSSES.checked] = CROSS_ENTROPY,
        ignore_index: Label = 255,
        align_corners: bool = False,
        sampler: SamplerCfg | None = None,
    ) -> None:
        if in_channels % 4:
            raise ConfigError(
                f"expected in_channels of a LightHead that 4 divides, got {in_channels}. Use a "
                "backbone with such a width."
            )
        half, quarter = in_channels // 2, in_channels // 4
        options: dict[str, Any] = {"loss_decode": loss_decode, "ignore_index": ignore_index}
        options |= {"align_corners": align_corners, "sampler": sampler, "dropout_ratio": 0}
        super().__init__(in_channels, quarter, num_classes, in_index, **options)
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
