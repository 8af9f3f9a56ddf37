"""Building blocks that several networks share."""

from mmseg.models.layers.activation import RELU, build_activation
from mmseg.models.layers.conv_module import ConvModule, DepthwiseSeparableConvModule
from mmseg.models.layers.drop_path import DropPath, drop_path
from mmseg.models.layers.norm import SyncBatchNorm, build_norm, synchronize_batch_norm
from mmseg.models.layers.precision import at_least_single
from mmseg.models.layers.shape import map_to_tokens, resize, tokens_to_map

__all__ = [
    "RELU",
    "ConvModule",
    "DepthwiseSeparableConvModule",
    "DropPath",
    "SyncBatchNorm",
    "at_least_single",
    "build_activation",
    "build_norm",
    "drop_path",
    "map_to_tokens",
    "resize",
    "synchronize_batch_norm",
    "tokens_to_map",
]
