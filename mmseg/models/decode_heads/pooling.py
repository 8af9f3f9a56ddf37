"""Pyramid pooling: means over coarse grids, which tell a pixel what the rest of the map shows.

Legend: N images, C channels, H×W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.models.layers import RELU, ConvModule, is_exporting, resize
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
        if is_exporting() and self.cells > 1:  # the pooling layer would be for one size alone
            means = self[1](grid_means(x, self.cells))
        else:
            means = super().forward(x)
        if self.cells == 1:
            return means.expand(-1, -1, *x.shape[2:])
        return resize(means, (x.shape[2], x.shape[3]), self.align_corners)


def grid_means(x: Tensor, cells: int) -> Tensor:
    """Average a map (N, C, H, W) over a grid → (N, C, cells, cells), as two matrix products.

    Up to rounding, this is what `nn.AdaptiveAvgPool2d` does.
    """
    rows, columns = (_shares(length, cells, x) for length in x.shape[2:])
    return rows @ x @ columns.T


def _shares(length: int, cells: int, like: Tensor) -> Tensor:
    """Return the share of each of `length` pixels in the mean of each cell, (cells, length)."""
    cell = torch.arange(cells, device=like.device)[:, None]
    pixel = torch.arange(length, device=like.device)
    start, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    return ((start <= pixel) & (pixel < end)).to(like.dtype) / (end - start)


def pyramid(
    in_channels: int, channels: int, pool_scales: Sequence[int], **options: Any
) -> nn.ModuleList:
    """Return one `PooledConv` per scale, the number of cells along a side of its grid."""
    return nn.ModuleList(PooledConv(in_channels, channels, n, **options) for n in pool_scales)
