"""MiT and DAFormer's head from plain operators: contiguous convolutions, nothing fused.

They have the shapes of the package's networks and compute the same functions of their weights.

Legend: N images, C channels, H×W pixels of a stage, L = H·W tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.config.registry import BACKBONES, HEADS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

DEPTHS = {32: (2, 2, 2, 2), 64: (3, 6, 40, 3)}  # of B0 and B5, by their first number of channels
HEAD_COUNTS, REDUCTIONS = (1, 2, 5, 8), (8, 4, 2, 1)
DILATIONS = (1, 6, 12, 18)


def use(model: Any, dims: Sequence[int]) -> None:
    """Let the section of a network name the plain backbone; its head is replaced by name."""
    model["backbone"] = {"type": "PlainMiT", "embed_dims": list(dims)}
    HEADS.register("DAFormerHead", force=True)(PlainDAFormerHead)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn tokens (N, L, C) into a contiguous map (N, C, H, W)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size).contiguous()


def to_tokens(feature: Tensor) -> Tensor:
    """Turn a map (N, C, H, W) into contiguous tokens (N, L, C)."""
    return feature.flatten(2).transpose(1, 2).contiguous()


class Attention(nn.Module):
    """Products, softmax, product; keys and values are reduced by a strided convolution."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.q, self.kv, self.proj = (nn.Linear(dim, n * dim) for n in (1, 2, 1))
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (N, L, C) to tokens of the same shape."""
        n, length, dim = x.shape
        context = x
        if self.reduction > 1:
            context = self.norm(to_tokens(self.sr(to_map(x, size))))
        q = self.q(x).reshape(n, length, self.heads, -1).permute(0, 2, 1, 3)
        kv = self.kv(context).reshape(n, -1, 2, self.heads, dim // self.heads)
        k, v = kv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1)) * (dim // self.heads) ** -0.5
        mixed = weights.softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(n, length, dim))


class Block(nn.Module):
    """Attention and Mix-FFN with stochastic depth per image."""

    def __init__(self, dim: int, heads: int, reduction: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.attn = Attention(dim, heads, reduction)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dwconv = nn.Conv2d(4 * dim, 4 * dim, 3, padding=1, groups=4 * dim)

    def _drop(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not self.training:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.rate
        return x / (1 - self.rate) * kept

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (N, L, C) to tokens of the same shape."""
        x = x + self._drop(self.attn(self.norm1(x), size))
        hidden = to_tokens(self.dwconv(to_map(self.fc1(self.norm2(x)), size)))
        return x + self._drop(self.fc2(F.gelu(hidden)))


@BACKBONES.register()
class PlainMiT(nn.Module):
    """A Mix Transformer of B0's or B5's size."""

    def __init__(self, embed_dims: Sequence[int], pretrained: str | None = None) -> None:
        super().__init__()
        self.embed_dims = tuple(embed_dims)
        depths = DEPTHS[embed_dims[0]]
        rates = torch.linspace(0, 0.1, sum(depths)).tolist()
        self.embeds, self.stages, self.norms = (nn.ModuleList() for _ in range(3))
        for i, dim in enumerate(embed_dims):
            kernel, stride = (7, 4) if i == 0 else (3, 2)
            before = 3 if i == 0 else embed_dims[i - 1]
            conv = nn.Conv2d(before, dim, kernel, stride, kernel // 2)
            self.embeds.append(nn.ModuleList([conv, nn.LayerNorm(dim)]))
            own = [rates.pop(0) for _ in range(depths[i])]
            blocks = [Block(dim, HEAD_COUNTS[i], REDUCTIONS[i], rate) for rate in own]
            self.stages.append(nn.ModuleList(blocks))
            self.norms.append(nn.LayerNorm(dim, 1e-6))

    def forward(self, img: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to the features of the four stages."""
        x, features = img, []
        for embed, blocks, norm in zip(self.embeds, self.stages, self.norms, strict=True):
            conv, first = embed
            x = conv(x)
            size = (x.shape[2], x.shape[3])
            tokens = first(to_tokens(x))
            for block in blocks:
                tokens = block(tokens, size)
            x = to_map(norm(tokens), size)
            features.append(x)
        return features


def conv_norm_relu(before: int, after: int, kernel: int, dilation: int = 1, groups: int = 1) -> Any:
    """Return a convolution, a norm over the batch, and a ReLU."""
    padding = dilation * (kernel // 2)
    options = {"padding": padding, "dilation": dilation, "groups": groups, "bias": False}
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, **options), nn.BatchNorm2d(after), nn.ReLU()
    )


class PlainDAFormerHead(BaseDecodeHead):
    """Embed each level by a linear layer, resize, concatenate, separable ASPP."""

    def __init__(self, decoder_params: Any, **kwargs: Any) -> None:
        options = {"input_transform": "multiple_select", **kwargs}
        super().__init__(decoder_params=decoder_params, **options)
        dim, levels = decoder_params["embed_dims"], len(self.feature_channels)
        self.embeds = nn.ModuleList(nn.Linear(c, dim) for c in self.feature_channels)
        width, out = levels * dim, self.channels
        self.branches = nn.ModuleList(
            conv_norm_relu(width, out, 1)
            if dilation == 1
            else nn.Sequential(
                conv_norm_relu(width, width, 3, dilation, width), conv_norm_relu(width, out, 1)
            )
            for dilation in DILATIONS
        )
        self.bottleneck = conv_norm_relu(len(DILATIONS) * out, out, 3)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the levels' features to logits (N, C, h, w)."""
        features = self.select_inputs(inputs)
        size = (features[0].shape[2], features[0].shape[3])
        maps = []
        for embed, feature in zip(self.embeds, features, strict=True):
            x = to_map(embed(to_tokens(feature)), (feature.shape[2], feature.shape[3]))
            maps.append(F.interpolate(x, size=size, mode="bilinear", align_corners=False))
        x = torch.cat(maps, 1)
        return self.cls_seg(self.bottleneck(torch.cat([branch(x) for branch in self.branches], 1)))
