"""Attention that looks at a few learned places of feature maps (Zhu et al. 2021, Deformable DETR).

Legend: B images, Q queries, S entries of all value maps, C channels, a heads, K channels of a head,
L value maps (levels) of H×W cells, P places per head and level. Places are (x, y), 0…1 from the
left (upper) to the right (lower) border of a map.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.models.layers import at_least_single, full_precision
from mmseg.system.errors import ConfigError

Size = tuple[int, int]


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


def sample_and_sum(
    values: Tensor, grids: Sequence[Size], places: Tensor, weights: Tensor
) -> Tensor:
    """Read maps at places, bilinearly and 0 outside, and sum with weights → (B, Q, a·K).

    What `grid_sample(…, align_corners=False)` would read, in half the time and without the
    (B, Q, a, L·P, K) numbers in between. Unlike that of grid_sample, its gradient is not among
    those that torch cannot repeat bit by bit on GPUs.

    Args:
        values: (B, S, a, K), the cells of all maps, row by row.
        grids: (H, W) of each map.
        places: (B, Q, a, L, P, 2).
        weights: (B, Q, a, L, P).
    """
    batch, entries, heads, width = values.shape
    chosen, shares, start = [], [], 0
    for level, (height, length) in enumerate(grids):
        x, y = (places[..., level, :, axis] for axis in (0, 1))  # (B, Q, a, P)
        for row, of_row in _neighbors(y, height):
            for column, of_column in _neighbors(x, length):
                chosen.append(start + row * length + column)
                shares.append(of_row * of_column * weights[..., level, :])
        start += height * length
    first = torch.arange(batch, device=values.device)[:, None] * entries * heads
    first = (first + torch.arange(heads, device=values.device))[:, None, :, None]  # (B, 1, a, 1)
    rows = torch.cat(chosen, dim=3) * heads + first  # (B, Q, a, L·P·4)
    share = torch.cat(shares, dim=3).flatten(0, 2)
    table = values.reshape(-1, width)  # (B·S·a, K)
    sums = F.embedding_bag(rows.flatten(0, 2), table, per_sample_weights=share, mode="sum")
    return sums.view(batch, -1, heads * width)


def _neighbors(places: Tensor, cells: int) -> list[tuple[Tensor, Tensor]]:
    """Return the two cells next to places along one side of a map, and the share of each.

    The share is 0 outside of the map, and for what is no number.
    """
    position = places * cells - 0.5
    low = position.detach().floor()
    beyond = position - low
    found = []
    for near, share in ((low, 1 - beyond), (low + 1, beyond)):
        is_inside = (near >= 0) & (near < cells)
        found.append((near.long().clamp(0, cells - 1), torch.where(is_inside, share, 0)))
    return found


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
        self, queries: Tensor, centers: Tensor, values: Tensor, grids: Sequence[Size]
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
            # Filled on the device: a tensor from a list would wait for it.
            sizes = torch.stack([offsets.new_full((), n) for h, w in grids for n in (w, h)])
            places = centers.to(offsets.dtype)[:, None, None, None] + offsets / sizes.view(-1, 1, 2)
            read = sample_and_sum(inner, grids, places, weights)
        return self.output_proj(read)
