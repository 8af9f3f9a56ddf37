"""A neck that makes levels of a plain ViT's features (Li et al. 2022, ViTDet).

Legend: N images, K channels of a feature, h×w patches.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from mmseg.config.registry import NECKS
from mmseg.config.values import Count
from mmseg.models.layers import ChannelNorm
from mmseg.system.errors import ConfigError

Places = Annotated[Sequence[int], Field(min_length=4, max_length=4)]


@NECKS.register()
class SimplePyramid(nn.Module):
    """Make levels of 4, 2, 1 and ½ times h×w: /4, /8, /16 and /32 with patches of 16 pixels.

    Heads of hierarchical backbones, such as DAFormer's, then work on a plain ViT.

    Args:
        in_channels: K, a multiple of 4.
        out_channels: of each level.
        in_index: which of the features becomes each level, finest first; -1 is the last.
    """

    def __init__(
        self, in_channels: Count, out_channels: Count = 256, in_index: Places = (-1, -1, -1, -1)
    ) -> None:
        super().__init__()
        if in_channels % 4:
            raise ConfigError(
                f"expected in_channels of a SimplePyramid that 4 divides, got {in_channels}. Use "
                "a backbone with such a width."
            )
        self.in_channels, self.in_index = in_channels, tuple(in_index)
        half, quarter = in_channels // 2, in_channels // 4
        twice = nn.ConvTranspose2d(in_channels, half, 2, 2)
        scales = [
            (
                [twice, ChannelNorm(half), nn.GELU(), nn.ConvTranspose2d(half, quarter, 2, 2)],
                quarter,
            ),
            ([nn.ConvTranspose2d(in_channels, half, 2, 2)], half),
            ([], in_channels),
            ([nn.MaxPool2d(2, 2)], in_channels),
        ]
        self.levels = nn.ModuleList(
            nn.Sequential(
                *layers,
                nn.Conv2d(width, out_channels, 1, bias=False),
                ChannelNorm(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                ChannelNorm(out_channels),
            )
            for layers, width in scales
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features (N, K, h, w) to four levels, finest first."""
        count = len(features)
        if any(not -count <= i < count for i in self.in_index):
            raise ConfigError(
                f"SimplePyramid: expected features for in_index {self.in_index}, got {count} "
                "features. Let the backbone return more (out_indices), or change in_index."
            )
        chosen = [features[i] for i in self.in_index]
        if (got := {x.shape[1] for x in chosen}) != {self.in_channels}:
            raise ConfigError(
                f"SimplePyramid: expected features with {self.in_channels} channels, got "
                f"{sorted(got)}. Set in_channels to those of the backbone, a plain ViT."
            )
        return [level(x) for level, x in zip(self.levels, chosen, strict=True)]
