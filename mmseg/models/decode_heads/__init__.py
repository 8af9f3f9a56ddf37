"""Heads: features of a backbone → logits and losses."""

from mmseg.models.decode_heads.daformer_head import DAFormerHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.dlv2_head import DLV2Head
from mmseg.models.decode_heads.fusion_layers import build_fusion_layer
from mmseg.models.decode_heads.hrda_head import HRDAHead

__all__ = ["BaseDecodeHead", "DAFormerHead", "DLV2Head", "HRDAHead", "build_fusion_layer"]
