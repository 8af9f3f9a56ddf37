"""Share of pixels that a prediction gets right.

Legend: N images, C classes, (...) further axes, usually H×W pixels.
"""

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor


@overload
def accuracy(prediction: Tensor, target: Tensor, topk: int = 1) -> Tensor: ...
@overload
def accuracy(prediction: Tensor, target: Tensor, topk: Sequence[int]) -> list[Tensor]: ...
@torch.no_grad()
def accuracy(
    prediction: Tensor, target: Tensor, topk: int | Sequence[int] = 1
) -> Tensor | list[Tensor]:
    """Return the percentage of all pixels whose true class is among the `topk` best scores.

    Pixels with a label that is no class (255) count as wrong, as in the published logs.

    Args:
        prediction: (N, C, ...) scores.
        target: (N, ...) class indices.
        topk: one number, or several for a list of results.

    Returns:
        0-dim tensor(s) on the device of `prediction`; no synchronization happens.
    """
    if target.shape != prediction.shape[:1] + prediction.shape[2:]:
        raise ValueError(
            f"expected labels of shape {tuple(prediction.shape[:1] + prediction.shape[2:])}, got "
            f"{tuple(target.shape)}; scores are (N, C, ...), labels (N, ...)."
        )
    ks = [topk] if isinstance(topk, int) else list(topk)
    if max(ks) > prediction.shape[1]:
        raise ValueError(
            f"expected topk of at most {prediction.shape[1]} classes, got {max(ks)}; lower topk."
        )
    if max(ks) == 1:
        is_hit = prediction.argmax(dim=1, keepdim=True) == target.unsqueeze(1)
    else:
        is_hit = prediction.topk(max(ks), dim=1).indices == target.unsqueeze(1)  # (N, K, ...)
    scale = 100.0 / max(target.numel(), 1)
    results = [is_hit[:, :k].sum(dtype=torch.float32) * scale for k in ks]
    return results[0] if isinstance(topk, int) else results
