"""ISANet's head: interlaced sparse self-attention beside the feature itself.

Legend: N images, C classes, h×w pixels of the feature.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg.config.registry import HEADS
from mmseg.config.values import Count, Pair
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.isa_layer import SelfAttentionBlock, interlaced_attention
from mmseg.models.layers import ConvModule

KEY_QUERY_CONVS = 2


@HEADS.register()
class ISAHead(BaseDecodeHead):
    """Attend to what is far, then to what is near, join that with the projected feature, classify.

    Args:
        isa_channels: channels of keys and queries.
        down_factor: (R, S), size of a neighborhood, to a multiple of which the map is zero-padded.
        kwargs: as for `BaseDecodeHead`.
    """

    def __init__(self, isa_channels: Count, down_factor: Pair = (8, 8), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rows, columns = down_factor
        self.down_factor = (rows, columns)
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        channels = self.channels
        self.in_conv = ConvModule(self.single_width, channels, 3, padding=1, **options)
        attention = (channels, isa_channels, KEY_QUERY_CONVS)
        self.global_relation = SelfAttentionBlock(*attention, **options)
        self.local_relation = SelfAttentionBlock(*attention, **options)
        self.out_conv = ConvModule(2 * channels, channels, 1, **options)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""
        feature = self.in_conv(self.select_inputs(inputs)[0])
        relations = (self.global_relation, self.local_relation)
        related = interlaced_attention(feature, self.down_factor, *relations)
        return self.cls_seg(self.out_conv(torch.cat([related, feature], dim=1)))
