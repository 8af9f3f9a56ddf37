"""Attention that looks at a few learned places of feature maps (Zhu et al. 2021, Deformable DETR).

Legend: B images, Q queries, S entries of all value maps, C channels, a heads, K channels of a head,
L value maps (levels) of H×W cells, P places per head and level. Places are (x, y), 0…1 from the
left (upper) to the right (lower) border of a map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.models.layers import at_least_single, full_precision
from mmseg.system.errors import ConfigError

Size = tuple[int, int]
INDEX = torch.int32  # of entries; half the memory of int64


def cell_centers(grids: Sequence[Size], device: torch.device | None = None) -> Tensor:
    """Return the centers (ΣH·W, 2) of the cells of maps, row by row, as float32 (x, y).

    >>> cell_centers([(1, 2)]).tolist()
    [[0.25, 0.5], [0.75, 0.5]]
    """
    centers = []
    for sizes in grids:
        y, x = ((torch.arange(n, device=device) + 0.5) / n for n in sizes)
        centers.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).flatten(0, 1))
    return torch.cat(centers)


@dataclass(frozen=True)
class ValueMaps:
    """The grids of value maps, and their sizes as tensors, which are filled on the device.

    A tensor from a list would wait for the device.
    """

    grids: Sequence[Size]
    sizes: Tensor  # (L, 1, 2) (W, H)
    starts: Tensor  # (L, 1, 1, 1), where the entries of a map start

    @classmethod
    def of(cls, grids: "Sequence[Size] | ValueMaps", device: torch.device) -> "ValueMaps":
        """Return the maps of grids (H, W); what is made already is returned as it is."""
        if isinstance(grids, ValueMaps):
            return grids
        starts = [sum(h * w for h, w in grids[:level]) for level in range(len(grids))]
        numbers = [n for (h, w), start in zip(grids, starts, strict=True) for n in (w, h, start)]
        filled = torch.stack([torch.full((), n, dtype=INDEX, device=device) for n in numbers])
        filled = filled.view(-1, 1, 3)
        return cls(grids, filled[..., :2], filled[..., 2, None, None])


def sample_and_sum(
    values: Tensor, grids: Sequence[Size] | ValueMaps, places: Tensor, weights: Tensor
) -> Tensor:
    """Read maps at places, bilinearly and 0 outside, and sum with weights → (B, Q, a·K).

    Args:
        values: (B, S, a, K), the cells of all maps, row by row.
        grids: (H, W) of each map.
        places: (B, Q, a, L, P, 2).
        weights: (B, Q, a, L, P).
    """
    maps = ValueMaps.of(grids, values.device)
    return read_maps(values, maps, places * maps.sizes - 0.5, weights)


def read_maps(values: Tensor, maps: ValueMaps, positions: Tensor, weights: Tensor) -> Tensor:
    """Do as `sample_and_sum` at positions (B, Q, a, L, P, 2) in cells, from the first one's center.

    What `grid_sample(…, align_corners=False)` would read, in half the time and without the
    (B, Q, a, L·P, K) numbers in between. Unlike that of grid_sample, its gradient is not among
    those that torch cannot repeat bit by bit on GPUs. All maps, axes and neighbors are computed
    together, because a GPU takes long to be told of each operation.
    """
    batch, entries, heads, width = values.shape
    device = values.device
    low = positions.detach().floor()
    beyond = positions - low
    near = low.unsqueeze(-1) + torch.arange(2, device=device)  # (…, 2 axes, 2 neighbors)
    cells = near.to(INDEX).clamp(torch.zeros_like(maps.starts), maps.sizes.unsqueeze(-1) - 1)
    shares = torch.stack([1 - beyond, beyond], dim=-1)
    of_column, of_row = torch.where(cells == near, shares, 0).unbind(-2)  # (…, 2), 0 for no number
    share = of_row.unsqueeze(-1) * of_column.unsqueeze(-2) * weights[..., None, None]
    column, row = cells.unbind(-2)
    lengths = maps.sizes[..., :1, None]  # (L, 1, 1, 1) of rows
    inside = torch.addcmul(column.unsqueeze(-2), row.unsqueeze(-1), lengths) + maps.starts
    of_head, step = torch.arange(heads, device=device, dtype=INDEX), entries * heads
    first = torch.arange(0, batch * step, step, device=device, dtype=INDEX)[:, None] + of_head
    rows = torch.add(first[:, None, :, None, None, None, None], inside, alpha=heads)
    table = values.reshape(-1, width)  # (B·S·a, K)
    rows, share = (x.flatten(3).flatten(0, 2) for x in (rows, share))  # (B·Q·a, L·P·4)
    sums = F.embedding_bag(rows, table, per_sample_weights=share, mode="sum")
    return sums.view(batch, -1, heads * width)


class DeformableAttention(nn.Module):
    """Let queries read `levels` value maps at learned places around their own.

    Args:
        channels: C.
        levels, points, heads: L, P and a; None for a head per 64 channels.
        ratio: share of the channels that the values have inside.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        points: int = 4,
        ratio: float = 0.5,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        self.heads = max(1, channels // 64) if heads is None else heads
        self.levels, self.points, inner = levels, points, int(channels * ratio)
        if inner % self.heads or not inner:
            raise ConfigError(
                f"expected a deform_ratio that gives each of {self.heads} heads the same number of "
                f"channels, got {ratio} of {channels}. Change deform_ratio, e.g. to 0.5."
            )
        count = self.heads * levels * points
        self.sampling_offsets = nn.Linear(channels, 2 * count)
        self.attention_weights = nn.Linear(channels, count)
        self.value_proj = nn.Linear(channels, inner)
        self.output_proj = nn.Linear(inner, channels)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Look at 1, 2, … P cells from the query, each head in its own direction."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, self.points + 1)[:, None]
        bias = directions[:, None, None] * steps  # (a, 1, P, 2)
        self.sampling_offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())

    def forward(
        self,
        queries: Tensor,
        centers: Tensor,
        values: Tensor,
        grids: Sequence[Size] | ValueMaps,
    ) -> Tensor:
        """Map queries (B, Q, C) at `centers` (Q, 2), and values (B, S, C) on grids → (B, Q, C).

        Places, sampling and sum are computed in float32 at least, also under autocast.
        """
        shape = (self.heads, self.levels, self.points)
        offsets = at_least_single(self.sampling_offsets(queries)).unflatten(2, (*shape, 2))
        weights = at_least_single(self.attention_weights(queries)).unflatten(2, (self.heads, -1))
        inner = at_least_single(self.value_proj(values)).unflatten(2, (self.heads, -1))
        with full_precision(queries.device):
            weights = weights.softmax(dim=3).unflatten(3, shape[1:])
            maps = ValueMaps.of(grids, queries.device)
            own = centers.to(offsets.dtype)[:, None, None, None] * maps.sizes - 0.5  # in cells
            read = read_maps(inner, maps, own + offsets, weights)
        return self.output_proj(read)
