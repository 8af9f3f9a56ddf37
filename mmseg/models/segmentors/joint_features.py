"""Let several batches of images go through a backbone as one.

Legend: N images, H×W pixels.
"""

from typing import Any

import torch
from torch import Tensor

from mmseg.models.layers import have_one_size, is_batch_independent, is_exporting


def joint_features(network: Any, *batches: Tensor) -> list[list[Tensor]]:
    """Return what `network.extract_feat` makes of each of several batches (N, 3, H, W), in order.

    Batches of images of one size go through as one, which is faster, if that makes no difference
    (see `is_batch_independent`); otherwise, they go one after the other. Random layers then draw
    other numbers of the same kind. An exported network, which may take images of any size, has them
    one after the other, too.
    """
    first, *others = batches
    if not others or is_exporting() or not _are_alike(network, first, others):
        return [network.extract_feat(batch) for batch in batches]
    counts = [batch.shape[0] for batch in batches]
    levels = [level.split(counts) for level in network.extract_feat(torch.cat(batches))]
    return [list(features) for features in zip(*levels, strict=True)]


def _are_alike(network: Any, first: Tensor, others: list[Tensor]) -> bool:
    """Tell whether batches have one size, and their images no effect on each other."""
    parts = [part for part in (network.backbone, network.neck) if part is not None]
    have_equal_sizes = all(have_one_size(first, other) for other in others)
    return have_equal_sizes and all(map(is_batch_independent, parts))
