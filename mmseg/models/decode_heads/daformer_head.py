"""DAFormer's context-aware multi-level feature fusion head.

Legend: N images, C classes, h×w pixels of the finest feature level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from mmseg.config.checking import checked
from mmseg.config.registry import HEADS
from mmseg.config.values import Count, Counts, Section
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fusion_layers import FusionCfg, build_fusion_layer
from mmseg.models.layers import join
from mmseg.system.errors import ConfigError

SAME = "same_as_embed_cfg"


@dataclass(frozen=True)
class DecoderParams:
    """The layers of a DAFormer head; their types are those of `fusion_layers.py`."""

    embed_dims: Count | Counts  # of all levels, or one number per level
    embed_cfg: FusionCfg  # embeds a level
    embed_neck_cfg: FusionCfg | Literal["same_as_embed_cfg"]  # embeds the last level
    fusion_cfg: FusionCfg  # maps the concatenation to `channels`


@HEADS.register()
class DAFormerHead(BaseDecodeHead):
    """Embed every level, resize all to the finest one, concatenate, fuse, classify.

    Args:
        decoder_params: see `DecoderParams`.
        kwargs: as for `BaseDecodeHead`, with lists for `in_channels` and `in_index`.
    """

    def __init__(
        self,
        decoder_params: Annotated[
            Section, checked(DecoderParams, "decoder_params of DAFormerHead")
        ],
        **kwargs: Any,
    ) -> None:
        options: dict[str, Any] = {"input_transform": "multiple_select", **kwargs}
        super().__init__(decoder_params=decoder_params, **options)
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
        levels = zip(self.embed_layers, self.select_inputs(inputs), strict=True)
        embedded = [layer(feature) for layer, feature in levels]
        return self.cls_seg(self.fuse_layer(join(embedded, self.align_corners)))
