"""What ViT-Adapter puts beside a ViT (Chen et al. 2023): a convolutional prior, and exchanges.

Legend: B images, C channels of the ViT, n patches, m cells of the maps of /8, /16 and /32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmseg.models.backbones.ms_deform_attn import (
    DeformableAttention,
    Size,
    ValueMaps,
    cell_centers,
)
from mmseg.models.layers import build_norm, map_to_tokens, tokens_to_map

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class ExchangeOptions:
    """The sizes of the exchanges between a ViT and its adapter."""

    channels: int  # C
    points: int = 4  # places per head and map
    deform_ratio: float = 0.5  # share of the channels inside of the attention
    ffn_ratio: float = 0.25  # share of the channels inside of the FFN


@dataclass(frozen=True)
class Cells:
    """The grids of both sequences, and the places of their entries."""

    patches: ValueMaps  # one
    maps: ValueMaps  # of /8, /16 and /32
    patch_centers: Tensor  # (n, 2)
    map_centers: Tensor  # (m, 2)

    @classmethod
    def of(cls, patches: Size, maps: list[Size], device: torch.device) -> "Cells":
        """Find the places for grids of patches and of maps."""
        grids = [patches], maps
        one, several = (ValueMaps.of(each, device) for each in grids)
        return cls(one, several, *(cell_centers(each, device) for each in grids))

    def split(self, sequence: Tensor) -> list[Tensor]:
        """Turn (B, m, C) into its maps (B, C, h, w)."""
        sizes = self.maps.grids
        parts = sequence.split([h * w for h, w in sizes], dim=1)
        return [tokens_to_map(part, size) for part, size in zip(parts, sizes, strict=True)]


class SpatialPrior(nn.Module):
    """A small CNN: image (B, 3, H, W) → maps of C channels at /4, /8, /16 and /32."""

    def __init__(self, channels: int, width: int, norm_cfg: Mapping[str, Any]) -> None:
        super().__init__()

        def layer(before: int, after: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
            return [conv, build_norm(norm_cfg, after)[1], nn.ReLU(inplace=True)]

        stem = [*layer(3, width, 2), *layer(width, width, 1), *layer(width, width, 1)]
        self.stem = nn.Sequential(*stem, nn.MaxPool2d(3, 2, padding=1))
        self.conv2 = nn.Sequential(*layer(width, 2 * width, 2))
        self.conv3 = nn.Sequential(*layer(2 * width, 4 * width, 2))
        self.conv4 = nn.Sequential(*layer(4 * width, 4 * width, 2))
        self.fc1 = nn.Conv2d(width, channels, 1)
        self.fc2 = nn.Conv2d(2 * width, channels, 1)
        self.fc3 = nn.Conv2d(4 * width, channels, 1)
        self.fc4 = nn.Conv2d(4 * width, channels, 1)

    def forward(self, img: Tensor) -> list[Tensor]:
        """Return the maps, finest first."""
        first = self.stem(img)
        second = self.conv2(first)
        third = self.conv3(second)
        fourth = self.conv4(third)
        return [self.fc1(first), self.fc2(second), self.fc3(third), self.fc4(fourth)]


class DepthwiseConv(nn.Module):
    """One 3×3 filter per channel, the same on each of the maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, sequence: Tensor, cells: Cells) -> Tensor:
        """Filter the maps of (B, m, C)."""
        return torch.cat([map_to_tokens(self.dwconv(x)) for x in cells.split(sequence)], dim=1)


class ConvFFN(nn.Module):
    """A feed-forward network with a convolution inside."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, sequence: Tensor, cells: Cells) -> Tensor:
        """Map (B, m, C) to (B, m, C)."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(sequence), cells)))


class Injector(nn.Module):
    """Let the patches read the maps."""

    def __init__(self, options: ExchangeOptions) -> None:
        super().__init__()
        channels, sizes = options.channels, (options.points, options.deform_ratio)
        self.gamma = nn.Parameter(torch.zeros(channels))  # at first, the ViT is as it was
        self.query_norm, self.feat_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = DeformableAttention(channels, len(STRIDES), *sizes)

    def forward(self, patches: Tensor, sequence: Tensor, cells: Cells) -> Tensor:
        """Return the new patches (B, n, C); `sequence` is (B, m, C)."""
        query, values = self.query_norm(patches), self.feat_norm(sequence)
        return patches + self.gamma * self.attn(query, cells.patch_centers, values, cells.maps)


class Extractor(nn.Module):
    """Let the maps read the patches."""

    def __init__(self, options: ExchangeOptions) -> None:
        super().__init__()
        channels, sizes = options.channels, (options.points, options.deform_ratio)
        self.query_norm, self.feat_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = DeformableAttention(channels, 1, *sizes)
        self.ffn = ConvFFN(channels, int(channels * options.ffn_ratio))
        self.ffn_norm = nn.LayerNorm(channels)

    def forward(self, sequence: Tensor, patches: Tensor, cells: Cells) -> Tensor:
        """Return the new sequence (B, m, C); `patches` are (B, n, C)."""
        query, values = self.query_norm(sequence), self.feat_norm(patches)
        sequence = sequence + self.attn(query, cells.map_centers, values, cells.patches)
        return sequence + self.ffn(self.ffn_norm(sequence), cells)


class Interaction(nn.Module):
    """The exchange around a group of the ViT's blocks; `extra` extractors follow the first."""

    def __init__(self, options: ExchangeOptions, extra: int, with_cp: bool) -> None:
        super().__init__()
        self.injector, self.extractor = Injector(options), Extractor(options)
        self.extra_extractors = nn.ModuleList(Extractor(options) for _ in range(extra))
        self.with_cp = with_cp

    def inject(self, patches: Tensor, sequence: Tensor, cells: Cells) -> Tensor:
        """Return the patches before the blocks."""
        return self._run(self.injector, patches, sequence, cells)

    def extract(self, sequence: Tensor, patches: Tensor, cells: Cells) -> Tensor:
        """Return the sequence after the blocks."""
        extractors: Sequence[nn.Module] = (self.extractor, *self.extra_extractors)
        for extractor in extractors:
            sequence = self._run(extractor, sequence, patches, cells)
        return sequence

    def _run(self, part: Callable[..., Tensor], *arguments: Any) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(part, *arguments, use_reentrant=False)
        return part(*arguments)


def draw_start_values(module: nn.Module) -> None:
    """Draw the weights of the layers of an adapter; its attentions have start values of their own.

    Linear layers N(0, 0.02), cut off at ±2, convolutions N(0, √(2/(k²·out/groups))), biases 0;
    norms keep torch's 1 and 0.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            height, width = part.kernel_size
            fan_out = height * width * part.out_channels // part.groups
            nn.init.normal_(part.weight, std=(2 / fan_out) ** 0.5)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, DeformableAttention):
            part.init_weights()
