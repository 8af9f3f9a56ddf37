"""Heads: features of a backbone → logits and losses."""

from mmseg.models.decode_heads.daformer_head import DAFormerHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fusion_layers import FUSION_LAYERS, build_fusion_layer

__all__ = ["FUSION_LAYERS", "BaseDecodeHead", "DAFormerHead", "build_fusion_layer"]
