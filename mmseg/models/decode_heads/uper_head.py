"""UPerNet's head: a feature pyramid, whose top is pooled at several scales.

Legend: N images, C classes, h×w pixels of the finest feature level.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmseg.config.registry import HEADS
from mmseg.config.values import Counts
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.pooling import pyramid
from mmseg.models.layers import ConvModule, join, resize


@HEADS.register()
class UPerHead(BaseDecodeHead):
    """Pool the last level, add it downward to the finer ones, fuse all at the finest, classify.

    Args:
        pool_scales: cells along a side of each grid that the last level is averaged over.
        kwargs: as for `BaseDecodeHead`, with lists for `in_channels` and `in_index`.
    """

    def __init__(
        self,
        pool_scales: Counts = (1, 2, 3, 6),
        input_transform: Literal["multiple_select"] = "multiple_select",
        **kwargs: Any,
    ) -> None:
        super().__init__(input_transform=input_transform, **kwargs)
        channels, (*finer, last) = self.channels, self.feature_channels
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        corners = {"align_corners": self.align_corners}

        def mix(width: int) -> nn.Module:
            return ConvModule(width, channels, 3, padding=1, **options)

        self.psp_modules = pyramid(last, channels, pool_scales, **options, **corners)
        self.bottleneck = mix(last + len(pool_scales) * channels)
        self.lateral_convs = nn.ModuleList(ConvModule(w, channels, 1, **options) for w in finer)
        self.fpn_convs = nn.ModuleList(mix(channels) for _ in finer)
        self.fpn_bottleneck = mix(len(self.feature_channels) * channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the levels' features to logits (N, C, h, w)."""
        *finer, last = self.select_inputs(inputs)
        pooled = [module(last) for module in self.psp_modules]
        top = self.bottleneck(torch.cat([last, *pooled], dim=1))
        levels = [conv(x) for conv, x in zip(self.lateral_convs, finer, strict=True)] + [top]
        for below, above in reversed(list(pairwise(range(len(levels))))):
            size = (levels[below].shape[2], levels[below].shape[3])
            levels[below] = levels[below] + resize(levels[above], size, self.align_corners)
        outputs = [conv(x) for conv, x in zip(self.fpn_convs, levels[:-1], strict=True)] + [top]
        return self.cls_seg(self.fpn_bottleneck(join(outputs, self.align_corners)))
