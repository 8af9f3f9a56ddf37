"""Interlaced sparse self-attention: attend among far-apart pixels, then among neighbors.

Legend: N images, C channels, H×W pixels; the map is cut into P×Q neighborhoods of R×S pixels.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.config.values import Count, Pair
from mmseg.models.layers import RELU, ActCfg, ConvModule, NormCfg, attend, map_to_tokens


class SelfAttentionBlock(nn.Module):
    """One-headed self-attention with 1×1 convolutions as projections."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        key_query_num_convs: int = 1,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}

        def project() -> nn.Module:
            widths = [in_channels] + [channels] * key_query_num_convs
            convs = [ConvModule(*pair, 1, **options) for pair in pairwise(widths)]
            return convs[0] if len(convs) == 1 else nn.Sequential(*convs)

        self.key_project = project()
        self.query_project = project()
        self.value_project = nn.Conv2d(in_channels, in_channels, 1)
        self.output_project = ConvModule(in_channels, in_channels, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among all pixels of each map (N, C, H, W) → same shape."""
        query = map_to_tokens(self.query_project(x))  # (N, H·W, channels)
        key = map_to_tokens(self.key_project(x))
        value = map_to_tokens(self.value_project(x))  # (N, H·W, C)
        context = attend(query, key, value)
        return self.output_project(context.transpose(1, 2).reshape(x.shape))


def interlaced_attention(
    x: Tensor, down_factor: tuple[int, int], far: nn.Module, near: nn.Module
) -> Tensor:
    """Attend in a map (N, C, H, W) to what is far, then to what is near; returns the same shape.

    `far` relates the pixels at the same place of every neighborhood, `near` those within each. Both
    map (·, C, ·, ·) to the same shape. The map is zero-padded to a multiple of `down_factor`, the
    size (R, S) of a neighborhood.
    """
    n, c, height, width = x.shape
    rows, columns = down_factor
    p, q = -(-height // rows), -(-width // columns)
    pad_h, pad_w = p * rows - height, q * columns - width
    top, left = pad_h // 2, pad_w // 2
    if pad_h or pad_w:
        x = F.pad(x, (left, pad_w - left, top, pad_h - top))
    x = x.reshape(n, c, p, rows, q, columns).permute(0, 3, 5, 1, 2, 4)  # (N, R, S, C, P, Q)
    x = far(x.reshape(n * rows * columns, c, p, q))
    x = x.view(n, rows, columns, c, p, q).permute(0, 4, 5, 3, 1, 2)  # (N, P, Q, C, R, S)
    x = near(x.reshape(n * p * q, c, rows, columns))
    x = x.view(n, p, q, c, rows, columns).permute(0, 3, 1, 4, 2, 5)  # (N, C, P, R, Q, S)
    x = x.reshape(n, c, p * rows, q * columns)
    return x[:, :, top : top + height, left : left + width]


class ISALayer(nn.Module):
    """Project to `out_channels`, then attend in the two interlaced ways.

    Args:
        isa_channels: channels of keys and queries.
        down_factor: (R, S), size of a neighborhood; the map is zero-padded to a multiple of it.
        key_query_num_convs: convolutions per key and query projection.
        kernel_size: of the first projection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        isa_channels: Count,
        down_factor: Pair = (8, 8),
        key_query_num_convs: Count = 1,
        kernel_size: Count = 1,
        norm_cfg: NormCfg | None = None,
        act_cfg: ActCfg | None = RELU,
    ) -> None:
        super().__init__()
        rows, columns = down_factor
        self.down_factor = (rows, columns)
        options: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
        options["padding"] = kernel_size // 2
        self.in_conv = ConvModule(in_channels, out_channels, kernel_size, **options)
        attention = (out_channels, isa_channels, key_query_num_convs, norm_cfg, act_cfg)
        self.global_relation = SelfAttentionBlock(*attention)
        self.local_relation = SelfAttentionBlock(*attention)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        relations = (self.global_relation, self.local_relation)
        return interlaced_attention(self.in_conv(x), self.down_factor, *relations)
