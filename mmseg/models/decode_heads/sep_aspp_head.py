"""DeepLab-v3+'s head: a separable ASPP, refined by a fine feature of the backbone.

Legend: N images, C classes, h×w pixels of the fine feature.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmseg.config.registry import HEADS
from mmseg.config.values import Counts, Index
from mmseg.models.decode_heads.aspp_head import ASPPHead
from mmseg.models.layers import ConvModule, DepthwiseSeparableConvModule, resize
from mmseg.system.errors import ConfigError


@HEADS.register()
class DepthwiseSeparableASPPHead(ASPPHead):
    """Join the ASPP's output with the backbone's first feature, convolve twice, classify.

    Args:
        c1_in_channels: channels of the backbone's first feature; 0 does without it, and the logits
            have the size of the ASPP's feature.
        c1_channels: what they are reduced to.
        dilations, kwargs: as for `ASPPHead`.
    """

    IS_SEPARABLE: ClassVar[bool] = True

    def __init__(
        self,
        c1_in_channels: Index,
        c1_channels: Index,
        dilations: Counts = (1, 6, 12, 18),
        **kwargs: Any,
    ) -> None:
        super().__init__(dilations=dilations, **kwargs)
        if (c1_in_channels == 0) != (c1_channels == 0):
            raise ConfigError(
                "DepthwiseSeparableASPPHead: expected c1_in_channels and c1_channels both 0 or "
                f"neither, got {c1_in_channels} and {c1_channels}. Set both to 0 to do without the "
                "first feature."
            )
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.c1_bottleneck: nn.Module | None = None
        if c1_in_channels > 0:
            self.c1_bottleneck = ConvModule(c1_in_channels, c1_channels, 1, **options)
        widths = (self.channels + c1_channels, self.channels)
        self.sep_bottleneck = nn.Sequential(
            *(DepthwiseSeparableConvModule(w, self.channels, 3, 1, 1, **options) for w in widths)
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""
        output = self.context(inputs)
        if self.c1_bottleneck is not None:
            fine = self.c1_bottleneck(inputs[0])
            output = resize(output, (fine.shape[2], fine.shape[3]), self.align_corners)
            output = torch.cat([output, fine], dim=1)
        return self.cls_seg(self.sep_bottleneck(output))
