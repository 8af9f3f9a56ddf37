"""DAFormer's context-aware multi-level feature fusion head.

Legend: N images, C classes, h×w pixels of the finest feature level.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import HEADS, check_keys
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fusion_layers import build_fusion_layer
from mmseg.models.layers import resize
from mmseg.system.errors import ConfigError

PARAMETERS = ("embed_dims", "embed_cfg", "embed_neck_cfg", "fusion_cfg")
SAME = "same_as_embed_cfg"


@HEADS.register()
class DAFormerHead(BaseDecodeHead):
    """Embed every level, resize all to the finest one, concatenate, fuse, classify.

    Args:
        decoder_params: `embed_dims` (one number, or one per level), `embed_cfg` (layer that
            embeds a level), `embed_neck_cfg` (the same for the last level, or
            'same_as_embed_cfg') and `fusion_cfg` (layer on the concatenation → `channels`). The
            layer types are those of `fusion_layers.py`.
        kwargs: as for `BaseDecodeHead`, with lists for `in_channels` and `in_index`.
    """

    def __init__(self, decoder_params: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{"input_transform": "multiple_select", **kwargs})
        check_keys(decoder_params, PARAMETERS, "decoder_params of DAFormerHead")
        if missing := [key for key in PARAMETERS if key not in decoder_params]:
            raise ConfigError(f"decoder_params of DAFormerHead needs the key {missing[0]!r}.")
        levels, dims = len(self.feature_channels), decoder_params["embed_dims"]
        dims = [dims] * levels if isinstance(dims, int) else list(dims)
        if len(dims) != levels:
            raise ConfigError(
                f"expected one embed_dims, or one per feature level ({levels}), got {dims}; "
                "give as many numbers as in_channels has."
            )
        embed_cfg, neck_cfg = decoder_params["embed_cfg"], decoder_params["embed_neck_cfg"]
        configs = [embed_cfg] * (levels - 1) + [embed_cfg if neck_cfg == SAME else neck_cfg]
        self.embed_layers = nn.ModuleList(
            build_fusion_layer(cfg, channels, dim)
            for cfg, channels, dim in zip(configs, self.feature_channels, dims, strict=True)
        )
        self.fuse_layer = build_fusion_layer(decoder_params["fusion_cfg"], sum(dims), self.channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the levels' features to logits (N, C, h, w)."""
        features = self.select_inputs(inputs)
        size = (features[0].shape[2], features[0].shape[3])
        embedded = [
            resize(layer(feature), size, self.align_corners)
            for layer, feature in zip(self.embed_layers, features, strict=True)
        ]
        return self.cls_seg(self.fuse_layer(torch.cat(embedded, dim=1)))
