"""Feature extractors: image → list of feature maps, finest first."""

from mmseg.models.backbones.mix_transformer import MixVisionTransformer
from mmseg.models.backbones.pretrained import load_pretrained

__all__ = ["MixVisionTransformer", "load_pretrained"]
