"""Mix Transformer (MiT), the hierarchical transformer encoder of SegFormer.

Legend: N images, C channels, H×W pixels of a stage, L = H·W tokens, h attention heads.
Tokens (N, L, C) are the working layout; maps (N, C, H, W) appear only at convolutions.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmseg.config.registry import BACKBONES
from mmseg.config.values import Count, Counts, Part, Positive, Text
from mmseg.models.backbones.hub_mit import with_our_names
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.layers import (
    StochasticDepth,
    add_branch,
    gelu_to_tokens,
    in_autocast_dtype,
    map_to_tokens,
    tokens_to_map,
)
from mmseg.system.errors import ConfigError

Size = tuple[int, int]
SMALL, LARGE = (32, 64, 160, 256), (64, 128, 320, 512)  # channels of B0, and of B1 … B5

WHERE_TO_GET = (
    "get SegFormer's ImageNet weights (mit_b0.pth … mit_b5.pth, linked in SegFormer's README), "
    "put the file there, or set model.pretrained=None to start from random weights"
)


class OverlapPatchEmbed(nn.Module):
    """Strided convolution with overlapping windows, then layer norm: map → fewer, wider tokens."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size, stride, kernel_size // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        """Map (N, C, H, W) to tokens (N, L, dim) and the size of their grid."""
        x = self.proj(x)
        return self.norm(map_to_tokens(x)), (x.shape[2], x.shape[3])


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values are reduced `sr_ratio`-fold along each axis."""

    def __init__(
        self, dim: int, heads: int, sr_ratio: int, attn_drop: float = 0.0, proj_drop: float = 0.0
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(
                f"expected embed_dims divisible by num_heads, got {dim} and {heads}; change one."
            )
        self.heads, self.sr_ratio = heads, sr_ratio
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def _reduce(self, x: Tensor, size: Size) -> Tensor:
        """Apply `sr` to tokens (N, H·W, C) as one matrix product → (N, ⌊H/r⌋·⌊W/r⌋, C).

        A convolution whose stride equals its kernel size is a linear map of separate blocks. On a
        CPU their numbers stay in the order of the tokens, which copies fastest; elsewhere they take
        that of the weight, which then needs no copy.
        """
        if not isinstance(size[0], int):  # exported for any size, as a convolution can be
            return self.norm(map_to_tokens(self.sr(tokens_to_map(x, size))))
        r, (rows, columns) = self.sr_ratio, (size[0] // self.sr_ratio, size[1] // self.sr_ratio)
        n, _, c = x.shape
        x = x.reshape(n, *size, c)[:, : rows * r, : columns * r]
        blocks, weight = x.reshape(n, rows, r, columns, r, c).transpose(2, 3), self.sr.weight
        if x.device.type == "cpu":
            weight = weight.permute(0, 2, 3, 1)
        else:
            blocks = blocks.permute(0, 1, 2, 5, 3, 4)
        blocks = blocks.reshape(n, rows * columns, r * r * c)
        return self.norm(F.linear(blocks, weight.reshape(c, r * r * c), self.sr.bias))

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Attend from every token to the reduced tokens; (N, L, C) → (N, L, C)."""
        n, length, c = x.shape
        context = self._reduce(x, size) if self.sr_ratio > 1 else x
        q = self.q(x).reshape(n, length, self.heads, -1).transpose(1, 2)  # (N, h, L, C/h)
        kv = self.kv(context).view(n, -1, 2, self.heads, c // self.heads)
        k, v = (x.transpose(1, 2) for x in kv.unbind(2))  # so that gradients need one copy
        rate = self.attn_drop.p if self.attn_drop.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        return self.proj_drop(self.proj(out.transpose(1, 2).reshape(n, length, c)))


class DepthwiseConv(nn.Module):
    """3×3 depth-wise convolution of tokens, whose zero padding encodes positions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map tokens (N, H·W, C) to a map (N, C, H, W)."""
        return self.dwconv(tokens_to_map(x, size))


class MixFFN(nn.Module):
    """Two linear layers with a depth-wise convolution and a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map tokens (N, L, C) to tokens of the same shape."""
        x = self.drop(gelu_to_tokens(self.dwconv(self.fc1(x), size)))
        return self.drop(self.fc2(x))


class Block(nn.Module):
    """Attention and Mix-FFN, each on a normalized input, on a residual path."""

    def __init__(self, dim: int, attn: EfficientAttention, mlp_ratio: float, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MixFFN(dim, int(dim * mlp_ratio), drop)

    def forward(
        self, x: Tensor, size: Size, factors: Sequence[Tensor | None] = (None, None)
    ) -> Tensor:
        """Map tokens (N, L, C) to tokens of the same shape.

        `factors` (N, 1, 1) are those of stochastic depth, of the attention and of the Mix-FFN.
        """
        x = add_branch(x, self.attn(in_autocast_dtype(self.norm1(x)), size), factors[0])
        return add_branch(x, self.mlp(self.norm2(x), size), factors[1])


@BACKBONES.register(inert=("style",))
class MixVisionTransformer(nn.Module):
    """Four stages of `depths[i]` blocks at strides 4, 8, 16 and 32.

    Args:
        embed_dims, num_heads, mlp_ratios, depths, sr_ratios: one number per stage.
        in_chans: channels of the image.
        drop_rate, attn_drop_rate: dropout after linear layers and on attention weights.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the first.
        pretrained: file with SegFormer's ImageNet weights, read by `init_weights`; the model hub's
            files (nvidia/mit-b0 … b5) fit as well.
        with_cp: recompute the blocks' activations in the backward pass: less memory, more time, the
            same numbers.
    """

    default_dims: Sequence[int] = SMALL
    default_depths: Sequence[int] = (2, 2, 2, 2)

    def __init__(
        self,
        embed_dims: Counts | None = None,
        depths: Counts | None = None,
        num_heads: Counts = (1, 2, 5, 8),
        mlp_ratios: Annotated[Sequence[Positive], Field(min_length=1)] = (4, 4, 4, 4),
        sr_ratios: Counts = (8, 4, 2, 1),
        in_chans: Count = 3,
        drop_rate: Part = 0.0,
        attn_drop_rate: Part = 0.0,
        drop_path_rate: Part = 0.1,
        pretrained: Text | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        embed_dims = self.default_dims if embed_dims is None else embed_dims
        depths = self.default_depths if depths is None else depths
        per_stage = (embed_dims, depths, num_heads, mlp_ratios, sr_ratios)
        if len(set(map(len, per_stage))) > 1:
            raise ConfigError(
                "expected embed_dims, depths, num_heads, mlp_ratios and sr_ratios with one number "
                f"per stage each, got {', '.join(str(list(v)) for v in per_stage)}. Change them."
            )
        self.embed_dims, self.pretrained = tuple(embed_dims), pretrained
        channels = (in_chans, *embed_dims)
        for i, dim in enumerate(embed_dims):  # all embeddings first: the order of the state dict
            embed = OverlapPatchEmbed(channels[i], dim, *((7, 4) if i == 0 else (3, 2)))
            self.add_module(f"patch_embed{i + 1}", embed)
        last = max(sum(depths) - 1, 1)
        rates = [drop_path_rate * j / last for j in range(sum(depths))]
        self.drop_path = StochasticDepth([rate for rate in rates for _ in range(2)])
        for i, dim in enumerate(embed_dims):
            blocks = nn.ModuleList()
            for _ in range(depths[i]):
                attn = EfficientAttention(
                    dim, num_heads[i], sr_ratios[i], attn_drop_rate, drop_rate
                )
                blocks.append(Block(dim, attn, mlp_ratios[i], drop_rate))
            self.add_module(f"block{i + 1}", blocks)
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dim, eps=1e-6))

    def init_weights(self) -> None:
        """Load `pretrained`, or draw SegFormer's initial weights when there is none."""
        if self.pretrained is not None:
            classifiers = ("head.", "classifier.")  # of SegFormer's file and of the hub's
            load_pretrained(self, self.pretrained, WHERE_TO_GET, classifiers, with_our_names)
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, img: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to the four stages' features (N, C_i, H/2^(i+2), W/2^(i+2))."""
        is_cpu = img.device.type == "cpu"
        x = img.contiguous(memory_format=torch.channels_last) if is_cpu else img
        features, factors = [], iter(self.drop_path(img.shape[0]))
        for i in range(1, len(self.embed_dims) + 1):
            x, size = self.get_submodule(f"patch_embed{i}")(x)
            for block in self.get_submodule(f"block{i}").children():
                x = self._run(block, x, size, (next(factors), next(factors)))
            x = self.get_submodule(f"norm{i}")(x).unflatten(1, size).permute(0, 3, 1, 2)
            features.append(x)  # (N, C, H, W), a view
        return features

    def _run(self, block: nn.Module, *arguments: Any) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)  # draws the same again
        return block(*arguments)


def _sized(size: str, dims: Sequence[int], depths: Sequence[int]) -> type[MixVisionTransformer]:
    """Return and register the MiT of a published size, such as 'B0'."""
    defaults = {"default_dims": dims, "default_depths": depths}
    cls = type(f"Mit{size}", (MixVisionTransformer,), defaults)
    return BACKBONES.register(f"mit_{size.lower()}", inert=("style",))(cls)


MitB0 = _sized("B0", SMALL, (2, 2, 2, 2))  # 3.3 M parameters
MitB1 = _sized("B1", LARGE, (2, 2, 2, 2))  # 13 M
MitB2 = _sized("B2", LARGE, (3, 4, 6, 3))  # 24 M
MitB3 = _sized("B3", LARGE, (3, 4, 18, 3))  # 44 M
MitB4 = _sized("B4", LARGE, (3, 8, 27, 3))  # 61 M
MitB5 = _sized("B5", LARGE, (3, 6, 40, 3))  # 81 M
