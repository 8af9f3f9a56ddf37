"""DeepLab-v3's head: atrous spatial pyramid pooling with the mean of the whole map.

Legend: N images, C classes, h×w pixels of the feature.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmseg.config.registry import HEADS
from mmseg.config.values import Counts
from mmseg.models.decode_heads.aspp_layer import aspp_branches
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.pooling import PooledConv
from mmseg.models.layers import ConvModule


@HEADS.register()
class ASPPHead(BaseDecodeHead):
    """Look at different distances in parallel, mix with a 3×3 bottleneck, classify.

    Args:
        dilations: one branch each; 1 stands for a 1×1 convolution.
        kwargs: as for `BaseDecodeHead`.
    """

    IS_SEPARABLE: ClassVar[bool] = False  # the dilated branches

    def __init__(self, dilations: Counts = (1, 6, 12, 18), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, channels = self.single_width, self.channels
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.image_pool = PooledConv(width, channels, 1, **options)
        self.aspp_modules = aspp_branches(width, channels, dilations, self.IS_SEPARABLE, **options)
        joined = (1 + len(dilations)) * channels
        self.bottleneck = ConvModule(joined, channels, 3, padding=1, **options)

    def context(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return what the bottleneck makes of all branches: (N, channels, h, w)."""
        feature = self.select_inputs(inputs)[0]
        branches = [self.image_pool, *self.aspp_modules]
        return self.bottleneck(torch.cat([branch(feature) for branch in branches], dim=1))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""
        return self.cls_seg(self.context(inputs))
