"""Pyramid pooling: means over coarse grids, which tell a pixel what the rest of the map shows.

Legend: N images, C channels, H×W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmseg.models.layers import RELU, ConvModule, resize
from mmseg.system.errors import ConfigError


class PooledConv(nn.Sequential):
    """Average a map over a grid of cells×cells, project the means, spread them over the map.

    Raises `ConfigError` where batch norm would see one single value per channel: in training, with
    one image and one cell.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        cells: int,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
        align_corners: bool = False,
    ) -> None:
        project = ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(nn.AdaptiveAvgPool2d(cells), project)
        self.cells, self.align_corners = cells, align_corners
        self.has_batch_norm = any(isinstance(m, nn.BatchNorm2d) for m in project.modules())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        if self.training and self.has_batch_norm and len(x) == 1 and self.cells == 1:
            raise ConfigError(
                "expected at least two images per process for a layer that pools whole maps, whose "
                "batch norm sees one pixel of each, got one. Raise data.samples_per_gpu, or choose "
                "another norm_cfg."
            )
        means = super().forward(x)
        if self.cells == 1:
            return means.expand(-1, -1, *x.shape[2:])
        return resize(means, (x.shape[2], x.shape[3]), self.align_corners)


def pyramid(
    in_channels: int, channels: int, pool_scales: Sequence[int], **options: Any
) -> nn.ModuleList:
    """Return one `PooledConv` per scale, the number of cells along a side of its grid."""
    return nn.ModuleList(PooledConv(in_channels, channels, n, **options) for n in pool_scales)
