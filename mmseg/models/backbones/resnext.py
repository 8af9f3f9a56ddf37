"""ResNeXt: ResNet whose 3×3 convolutions work in groups."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from mmseg.config.registry import BACKBONES
from mmseg.config.values import Count
from mmseg.models.backbones.residual_blocks import BlockOptions, Bottleneck
from mmseg.models.backbones.resnet import Plan, ResNet, ResNetSettings


@dataclass(frozen=True)
class ResNeXtSettings(ResNetSettings):
    """The keys of a ResNeXt: those of a ResNet, `groups` and their `base_width` in stage 1."""

    groups: Count = 1
    base_width: Count = 4

    def block_options(self) -> BlockOptions:
        """Return the settings that the blocks need."""
        ratio = self.base_width / self.base_channels
        return replace(super().block_options(), groups=self.groups, width_ratio=ratio)


@BACKBONES.register()
class ResNeXt(ResNet):
    """ResNeXt; `groups=32, base_width=4` is the published 32x4d."""

    settings_class = ResNeXtSettings
    plans: ClassVar[Mapping[int, Plan]] = {
        depth: plan for depth, plan in ResNet.plans.items() if plan[0] is Bottleneck
    }
