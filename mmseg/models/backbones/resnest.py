"""ResNeSt: ResNetV1d whose 3×3 convolutions choose between feature splits by attention.

Legend: N images, C channels, H×W pixels, r splits (radix), g groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.config.registry import BACKBONES
from mmseg.config.values import Count
from mmseg.models.backbones.residual_blocks import BlockOptions, Bottleneck, conv3x3
from mmseg.models.backbones.resnet import Plan, ResNet, ResNetSettings
from mmseg.models.layers import build_norm

MIN_HIDDEN = 32  # channels between the two layers of the attention, at least


class SplitAttention(nn.Module):
    """A 3×3 convolution with r outputs per channel, summed with weights that depend on the image.

    `options` give the norm, the groups, the radix r and the reduction factor.
    """

    def __init__(self, channels: int, stride: int, dilation: int, options: BlockOptions) -> None:
        super().__init__()
        self.radix, self.groups = options.radix, options.groups
        splits = channels * self.radix
        hidden = max(splits // options.reduction_factor, MIN_HIDDEN)
        self.conv = conv3x3(channels, splits, stride, dilation, self.groups * self.radix)
        short_name, norm = build_norm(options.norm_cfg, splits)
        self.norm_names = (f"{short_name}0", f"{short_name}1")
        self.add_module(self.norm_names[0], norm)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=self.groups)
        self.add_module(self.norm_names[1], build_norm(options.norm_cfg, hidden)[1])
        self.fc2 = nn.Conv2d(hidden, splits, 1, groups=self.groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H', W')."""
        x = F.relu(self.get_submodule(self.norm_names[0])(self.conv(x)), inplace=True)
        x = x.unflatten(1, (self.radix, -1))  # (N, r, C, H, W)
        pooled = x.sum(dim=1).mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        hidden = self.get_submodule(self.norm_names[1])(self.fc1(pooled))
        weight = self._normalize(self.fc2(F.relu(hidden, inplace=True)))
        return (weight * x).sum(dim=1)

    def _normalize(self, score: Tensor) -> Tensor:
        """Turn scores (N, g·r·C/g, 1, 1) into weights (N, r, C, 1, 1), of sum 1 over the splits."""
        if self.radix == 1:
            return score.sigmoid().unsqueeze(1)
        score = score.unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2)
        return score.softmax(dim=1).flatten(2, 3)


class SplitAttentionBottleneck(Bottleneck):
    """A bottleneck with split attention in the middle; by option, pooling does its stride."""

    pool: nn.Module | None

    def add_inner(self) -> None:
        """Add the split attention, which has its norms inside."""
        is_pooled = self.options.avg_down_stride and self.inner_stride > 1
        stride = 1 if is_pooled else self.inner_stride
        self.conv2 = SplitAttention(self.width, stride, self.place.dilation, self.options)
        self.units.append(("conv2", ""))
        self.pool = nn.AvgPool2d(3, self.inner_stride, padding=1) if is_pooled else None

    def branch(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W'), before the addition."""
        x = self.conv2(self.unit(0, x))
        return self.unit(2, x if self.pool is None else self.pool(x))


@dataclass(frozen=True)
class ResNeStSettings(ResNetSettings):
    """The keys of a ResNeSt: those of a ResNet and five more."""

    deep_stem: bool = True
    avg_down: bool = True
    groups: Count = 1  # of the 3×3 convolutions, as in ResNeXt
    base_width: Count = 4
    radix: Count = 2  # r
    reduction_factor: Count = 4  # how much narrower the attention's hidden layer is than the splits
    avg_down_stride: bool = True  # pool for a block's stride instead of skipping pixels

    def block_options(self) -> BlockOptions:
        """Return the settings that the blocks need."""
        return replace(
            super().block_options(),
            groups=self.groups,
            width_ratio=self.base_width / self.base_channels,
            radix=self.radix,
            reduction_factor=self.reduction_factor,
            avg_down_stride=self.avg_down_stride,
        )


@BACKBONES.register()
class ResNeSt(ResNet):
    """ResNeSt; the published networks have `stem_channels` 64 (depth 50) or 128."""

    settings_class = ResNeStSettings
    plans: ClassVar[Mapping[int, Plan]] = {
        50: (SplitAttentionBottleneck, (3, 4, 6, 3)),
        101: (SplitAttentionBottleneck, (3, 4, 23, 3)),
        152: (SplitAttentionBottleneck, (3, 8, 36, 3)),
        200: (SplitAttentionBottleneck, (3, 24, 36, 3)),
    }
