"""Building blocks that several networks share."""

from mmseg.models.layers.activation import RELU, ActCfg, build_activation
from mmseg.models.layers.attention import attend
from mmseg.models.layers.batch_independence import is_batch_independent
from mmseg.models.layers.conv_module import ConvCfg, ConvModule, DepthwiseSeparableConvModule
from mmseg.models.layers.convolution import (
    Conv2d,
    plain_convolutions,
    uses_plain_convolutions,
)
from mmseg.models.layers.drop_path import (
    DropPath,
    StochasticDepth,
    add_branch,
    is_random_layer,
)
from mmseg.models.layers.norm import (
    SLOW_SYNC_BN,
    ChannelNorm,
    NormCfg,
    build_norm,
    synchronize_batch_norm,
)
from mmseg.models.layers.shape import (
    Box,
    cut,
    gelu_to_tokens,
    have_one_size,
    hide_pixels,
    is_exporting,
    join,
    map_to_tokens,
    resize,
    size_of,
    tokens_to_map,
)
from mmseg.models.layers.single_precision import (
    at_least_single,
    full_precision,
    in_autocast_dtype,
)

__all__ = [
    "RELU", "SLOW_SYNC_BN", "ActCfg", "Box", "ChannelNorm", "Conv2d", "ConvCfg", "ConvModule",
    "DepthwiseSeparableConvModule", "DropPath", "NormCfg", "StochasticDepth", "add_branch",
    "at_least_single", "attend", "build_activation", "build_norm", "cut", "full_precision",
    "gelu_to_tokens", "have_one_size", "hide_pixels", "in_autocast_dtype",
    "is_batch_independent", "is_exporting", "is_random_layer", "join", "map_to_tokens",
    "plain_convolutions", "resize", "size_of", "synchronize_batch_norm", "tokens_to_map",
    "uses_plain_convolutions",
]  # fmt: skip
