"""Position tables of ViTs, resized to grids of other sizes.

Legend: M×M patches of the table, h×w patches of an image, p prefix tokens (CLS, registers), C
channels.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.system.errors import ConfigError

Rule = Literal["offset", "antialias"]
OFFSET = 0.1  # patches; DINOv2 added it to a scale so that rounding never loses a row


def grid_side(entries: int) -> int:
    """Return M of a table with M·M entries."""
    side = math.isqrt(entries)
    if side * side != entries:
        raise ConfigError(
            f"expected a square table of positions to resize, got {entries} entries. Give images "
            "of the size that the network was made for."
        )
    return side


def resize_positions(table: Tensor, grid: tuple[int, int], rule: Rule, prefix: int = 1) -> Tensor:
    """Resize the patch part of a table (1, p + M·M, C) bicubically → (1, p + h·w, C).

    The first `prefix` entries stay as they are, and so does a table of the grid's own size. The
    computation is in float32, rows first; the result has the table's dtype.

    Args:
        table: learned positions.
        grid: (h, w).
        rule: 'offset' is DINOv2's without registers: scale factors (h + 0.1)/M and (w + 0.1)/M, no
            anti-aliasing. 'antialias' is that of DINOv2 with registers, and timm's: to the size
            h×w, with anti-aliasing.
        prefix: p.
    """
    kept, patches = table[:, :prefix], table[:, prefix:]
    side = grid_side(patches.shape[1])
    if grid == (side, side):
        return table
    maps = patches.float().transpose(1, 2).unflatten(2, (side, side))  # (1, C, M, M)
    if rule == "offset":
        scale = ((grid[0] + OFFSET) / side, (grid[1] + OFFSET) / side)
        maps = F.interpolate(maps, scale_factor=scale, mode="bicubic", align_corners=False)
    else:
        maps = F.interpolate(maps, size=grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([kept, maps.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
