"""Feature extractors: image → list of feature maps, finest first."""

from mmseg.models.backbones.mix_transformer import MixVisionTransformer
from mmseg.models.backbones.resnest import ResNeSt
from mmseg.models.backbones.resnet import ResNet, ResNetV1c, ResNetV1d
from mmseg.models.backbones.resnext import ResNeXt
from mmseg.models.backbones.timm_backbone import TIMMBackbone
from mmseg.models.backbones.vit_adapter import ViTAdapter

__all__ = ["MixVisionTransformer", "ResNeSt", "ResNeXt", "ResNet", "ResNetV1c", "ResNetV1d"]
__all__ += ["TIMMBackbone", "ViTAdapter"]
