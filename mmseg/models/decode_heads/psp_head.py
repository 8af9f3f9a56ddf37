"""PSPNet's head: the feature, and what its surroundings are like at several scales.

Legend: N images, C classes, h×w pixels of the feature.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg.config.registry import HEADS
from mmseg.config.values import Counts
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.pooling import pyramid
from mmseg.models.layers import ConvModule


@HEADS.register()
class PSPHead(BaseDecodeHead):
    """Concatenate the feature and its pooled versions, mix them with a 3×3 bottleneck, classify.

    Args:
        pool_scales: cells along a side of each grid that the feature is averaged over.
        kwargs: as for `BaseDecodeHead`.
    """

    def __init__(self, pool_scales: Counts = (1, 2, 3, 6), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, channels = self.single_width, self.channels
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        corners = {"align_corners": self.align_corners}
        self.psp_modules = pyramid(width, channels, pool_scales, **options, **corners)
        joined = width + len(pool_scales) * channels
        self.bottleneck = ConvModule(joined, channels, 3, padding=1, **options)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""
        feature = self.select_inputs(inputs)[0]
        pooled = [module(feature) for module in self.psp_modules]
        return self.cls_seg(self.bottleneck(torch.cat([feature, *pooled], dim=1)))
