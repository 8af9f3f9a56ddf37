"""Change the size or the layout of feature maps.

Legend: N images, C channels, H×W pixels, L = H·W tokens.
"""

import torch.nn.functional as F
from torch import Tensor


def resize(
    x: Tensor, size: tuple[int, int], mode: str = "bilinear", align_corners: bool = False
) -> Tensor:
    """Resample (N, C, h, w) to (N, C, *size) without anti-aliasing; the same size returns `x`."""
    size = (int(size[0]), int(size[1]))
    if x.shape[2:] == size:
        return x
    if mode == "nearest":
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=align_corners)


def tokens_to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn tokens (N, H·W, C) into a map (N, C, H, W) in the layout that convolutions like.

    On a CPU that is a channels-last view of the tokens, without a copy: there, depth-wise
    convolutions run about three times as fast on it. Elsewhere it is a contiguous map, because
    CUDA's depth-wise kernels are written for that layout.
    """
    view = tokens.transpose(1, 2).unflatten(2, size)
    return view if tokens.device.type == "cpu" else view.contiguous()


def map_to_tokens(feature: Tensor) -> Tensor:
    """Turn a map (N, C, H, W) into tokens (N, H·W, C); no copy if the map is channels-last."""
    return feature.flatten(2).transpose(1, 2)
