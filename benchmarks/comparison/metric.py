"""The depth metric of one iteration: as the package computes it, and crop by crop in a loop.

Legend: B = 2 images, M source crops, C = 19 classes, D = 256 depth bins.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from comparison.sizes import Amount
from mmseg.models.uda.depthmetric import DepthMetric

CLASSES, BINS = 19, 256
OCCURRING = 119  # bins that 8-bit depth falls into
SHOWN_BY_CROP, SHOWN_BY_TARGET = 11, 12  # classes


def make(amount: Amount, is_naive: bool) -> Callable[[], dict[str, float]]:
    """Return a call of the metric on random statistics, as sparse as real ones."""
    generator = torch.Generator().manual_seed(0)
    side = 64 if amount.tiny else 512
    used = torch.randperm(BINS, generator=generator)[:OCCURRING].sort().values
    bank = torch.zeros(amount.crops, CLASSES, BINS)
    shape = (amount.crops, CLASSES, OCCURRING)
    bank[:, :, used] = torch.randint(1, 200, shape, generator=generator).float()
    bank *= torch.rand(amount.crops, CLASSES, 1, generator=generator) < SHOWN_BY_CROP / CLASSES
    label = torch.randint(0, SHOWN_BY_TARGET, (2, side, side), generator=generator)
    depth = used[torch.randint(0, OCCURRING, label.shape, generator=generator)].float()
    weight, confident = torch.ones_like(depth), torch.ones_like(label, dtype=torch.bool)
    if not is_naive:
        metric = DepthMetric(bank, reweight_threshold=0.5, relabel_threshold=0.5)

    def call() -> dict[str, float]:
        start = time.process_time()
        if is_naive:
            best_crops(label, depth, bank)
        else:
            metric(label, weight, confident, depth, 0)
        return {"": time.process_time() - start}

    call()
    return call


def best_crops(label: Tensor, depth: Tensor, bank: Tensor) -> list[int]:
    """Return the most similar source crop of each image of (B, H, W), compared one by one."""
    return [_best_crop(_histogram(*image), bank) for image in zip(label, depth, strict=True)]


def _histogram(label: Tensor, depth: Tensor) -> Tensor:
    """Return the counts (C, D) of an image, class by class."""
    rows = [torch.bincount(depth[label == c].long(), minlength=BINS) for c in range(CLASSES)]
    return torch.stack(rows).float()


def _best_crop(target: Tensor, bank: Tensor) -> int:
    sizes = target.sum(1)
    scores = []
    for source in bank:
        own = source.sum(1)
        cosine = F.cosine_similarity(source, target, dim=1)
        distance = (source - target).abs().sum(1) / (own + sizes).clamp(min=1)
        similarity = torch.where((sizes > 0) & (own > 0), (cosine + 1 - distance) / 2, 0.0)
        scores.append(similarity.sum() * F.cosine_similarity(own, sizes, dim=0))
    return int(torch.stack(scores).argmax())
