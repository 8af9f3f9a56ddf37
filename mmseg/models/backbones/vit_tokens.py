"""The tokens of a ViT between its blocks.

Legend: B images, C channels, h×w patches, p prefix tokens (CLS, registers).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmseg.models.layers import tokens_to_map

Size = tuple[int, int]


@dataclass(frozen=True)
class ViTTokens:
    """Prefix tokens and then patches, row by row, with what the blocks need beside them."""

    values: Tensor  # (B, p + h·w, C)
    prefix: int  # p
    grid: Size  # (h, w)
    rotation: Any = None  # of rotary positions, as timm makes it; None without them

    @property
    def patches(self) -> Tensor:
        """(B, h·w, C)."""
        return self.values[:, self.prefix :]

    def with_values(self, values: Tensor) -> "ViTTokens":
        """Replace all tokens."""
        return replace(self, values=values)

    def with_patches(self, patches: Tensor) -> "ViTTokens":
        """Replace the patches and keep the prefix tokens."""
        return self.with_values(torch.cat([self.values[:, : self.prefix], patches], dim=1))

    def as_map(self) -> Tensor:
        """Return the patches as a map (B, C, h, w)."""
        return tokens_to_map(self.patches, self.grid).contiguous()


def hide_patches(patches: Tensor, keep_mask: Tensor, mask_token: Tensor) -> Tensor:
    """Put the mask token (1, C) where `keep_mask` (B, 1, h, w) of patches (B, h, w, C) is 0."""
    if keep_mask.shape != (len(patches), 1, *patches.shape[1:3]):
        raise ValueError(
            "expected a keep_mask of one value per patch, "
            f"{(len(patches), 1, *patches.shape[1:3])}, got {tuple(keep_mask.shape)}. Draw the "
            "mask on the grid of patches of the image that the network sees."
        )
    keep = keep_mask.squeeze(1).unsqueeze(3) != 0
    return torch.where(keep, patches, mask_token.to(patches.dtype))


def run_block(network: Any, number: int, tokens: ViTTokens, recomputes: bool) -> ViTTokens:
    """Run one block of timm's network; `recomputes` saves memory in training."""
    block, rotation = network.blocks[number], tokens.rotation
    if rotation is not None and getattr(network, "rope_mixed", False):
        rotation = rotation[number]  # each block has its own
    arguments = (tokens.values,) if rotation is None else (tokens.values, rotation)
    if recomputes and torch.is_grad_enabled():
        return tokens.with_values(checkpoint(block, *arguments, use_reentrant=False))
    return tokens.with_values(block(*arguments))
