"""The similarity of class-wise depth distributions: sim_c = (cos_c + 1 - l1_c) / 2.

cos_c compares the shapes of two histograms, l1_c = Σ|s - t| / (Σs + Σt) their sizes, too. With the
pixels in common, Σ min(s, t), the same is sim_c = cos_c / 2 + common / (Σs + Σt).

A crop's score is the sum of its class similarities, times the cosine of the class sizes. Scores are
exact: sums of counts and of their products are whole numbers that float64 holds, and similarities
are added up as whole numbers of `PARTS`. So no order of a sum and no setting of torch (TF32,
autocast, the precision of products) changes a bit of them, and equal crops have equal scores.

Legend: B images, C classes, D = 256 depth bins, M source crops, K bins that any has, R bank rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg.datasets.depth.rows import PARTS
from mmseg.models.uda.depthmetric.bank import Bank

PART = torch.tensor(1 / PARTS, dtype=torch.float64)  # makes a product float64
MARGIN = 1 + 1e-4  # the bound of a score is rounded, and low by less than this
FIRST, CHUNK = 256, 2048  # crops that are compared at once on a CPU
CELLS = 2**28  # numbers that are compared at once on a GPU, with 16 bytes each


@dataclass(frozen=True)
class Target:
    """Images to find crops for."""

    counts: Tensor  # (B, C, K) float64, of the bins that the bank has
    sizes: Tensor  # (B, C) float64 pixels of a class
    divisors: Tensor  # (2, B, C) L2 norms of the classes' counts, and sizes; 1 instead of 0
    occupied: Tensor  # (B, K) float64 pixels of all classes and of none

    @classmethod
    def of(cls, pixels: Tensor, bank: Bank) -> "Target":
        """Take (B, C + 2, D + 2) counts, as `count_pixels` makes them."""
        pixels = pixels[:, :, 1:-1]
        counts, histograms = pixels.index_select(2, bank.bins), pixels[:, 1:-1]
        norms, sizes = pair = pixels.new_empty(2, *histograms.shape[:2])
        torch.linalg.vector_norm(histograms, dim=2, out=norms)
        torch.sum(histograms, 2, out=sizes)
        return cls(counts[:, 1:-1], sizes, pair.clamp(min=1), counts.sum(1))

    def image(self, number: int) -> "Target":
        """Return one of the images, without B."""
        divisors = self.divisors[:, number]
        return Target(self.counts[number], self.sizes[number], divisors, self.occupied[number])


@dataclass(frozen=True)
class BestMatch:
    """The crops that are most similar to the images; of several, the first."""

    index: Tensor  # (B,) int64
    similarity: Tensor  # (B, C) float64 similarities of its classes
    mean: Tensor  # (B,) float64 score by the number of classes in the image; 0 if there are none


def best_match(target: Target, bank: Bank) -> BestMatch:
    """Find the source crop that is most similar to each target image."""
    find = _search if target.sizes.device.type == "cpu" else _compare_all
    index, fixed, score = find(target, bank)
    num_present = torch.linalg.vector_norm(target.sizes, 0, dim=1)
    most = num_present * torch.linalg.vector_norm(target.sizes, dim=1)
    return BestMatch(index, fixed * PART, score / most.clamp(min=1))


def _compare_all(target: Target, bank: Bank) -> tuple[Tensor, Tensor, Tensor]:
    """Compare all crops without waiting for the device: no class and no crop is a step of a loop.

    Returns:
        (B,) best crop, (B, C) its similarities in parts of 1 / PARTS, (B,) its score times the norm
        of the image's sizes.
    """
    batch, _, bins = target.counts.shape
    sums = target.counts.new_empty(2, batch, len(bank.classes))
    for place, counts in bank.blocks(CELLS // max(1, batch * bins)):
        pair = target.counts.new_empty(2, batch, *counts.shape)
        own = torch.index_select(target.counts, 1, bank.classes[place], out=pair[0])
        torch.minimum(own, counts, out=pair[1])
        own.mul_(counts)
        torch.sum(pair, 3, out=sums[:, :, place])
    dot, common = sums
    norms, sizes = target.divisors.index_select(2, bank.classes)  # (B, R) each
    similarity = (dot / (norms * bank.norms)).addcdiv(common, sizes + bank.totals, value=PARTS)
    fixed = similarity.long().index_select(1, bank.rows.flatten())
    fixed = fixed.unflatten(1, bank.rows.shape)  # (B, C, M)
    alike = (bank.sizes * target.sizes[:, :, None]).sum(1) / bank.size_norms  # (B, M)
    score, index = (fixed.sum(1) * alike).max(1)
    best = index[:, None, None].expand(-1, len(bank.rows), 1)
    return index, fixed.gather(2, best)[:, :, 0], score


def _search(target: Target, bank: Bank) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `_compare_all` does by comparing only crops that may be the best."""
    found = [_search_one(target.image(number), bank) for number in range(len(target.sizes))]
    index, fixed, score = (torch.stack(each) for each in zip(*found, strict=True))
    return index, fixed, score


def _search_one(image: Target, bank: Bank) -> tuple[Tensor, Tensor, Tensor]:
    """Search for one image (tensors without B), the most promising crops first."""
    bound = _bound(image.sizes, bank)  # (M,)
    best = _best_of(bound.topk(min(FIRST, len(bank))).indices, image, bank)
    others = ((bound > 0) & (bound >= best[2])).nonzero()[:, 0]
    others = others[bound[others].argsort(descending=True)]
    for crops in others.split(CHUNK):
        if not len(crops) or bound[crops[0]] < best[2]:
            break
        best = max(best, _best_of(crops, image, bank), key=lambda found: (found[2], -found[0]))
    index, fixed, score = best
    return torch.where(score > 0, index, 0), fixed, score  # all crops are equal without one


def _bound(sizes: Tensor, bank: Bank) -> Tensor:
    """Return what scores, (M,), are at most, from the sizes of classes (C,) alone.

    A cosine is at most 1, and two histograms have at most the pixels of the smaller one in common.
    """
    total, alike = bank.sizes.new_zeros(2, len(bank))
    for c in sizes.nonzero()[:, 0].tolist():
        own, theirs = sizes[c].item(), bank.sizes[c]
        similarity = theirs.clamp(max=own).div_(theirs + own).add_(0.5)
        total.addcmul_(similarity, (theirs > 0).to(total.dtype))
        alike.add_(theirs, alpha=own)
    return total.mul_(alike).div_(bank.size_norms).mul_(MARGIN * PARTS)


def _best_of(crops: Tensor, image: Target, bank: Bank) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first of the best among the crops numbered `crops`, (n,), as `_compare_all`."""
    fixed = torch.zeros(len(crops), bank.num_classes, dtype=torch.int64)
    for c in image.sizes.nonzero()[:, 0].tolist():
        fixed[:, c] = class_similarity(c, crops, image, bank).long()
    sizes = bank.sizes.index_select(1, crops)
    alike = (sizes * image.sizes[:, None]).sum(0) / bank.size_norms[crops]
    scores = fixed.sum(1) * alike
    score = scores.max()
    index = torch.where(scores == score, crops, len(bank)).min()
    return index, fixed[(crops == index).nonzero()[0, 0]], score


def class_similarity(c: int, crops: Tensor, image: Target, bank: Bank) -> Tensor:
    """Return the similarities (n,) times `PARTS`, float64, of a class in the crops, (n,).

    `image` has no B, and shows the class.
    """
    row = bank.rows[c].index_select(0, crops)
    shown = row.nonzero()[:, 0]
    row, counts = row[shown], bank.counts(bank.places[:, crops[shown], c])
    own = image.counts[c]
    common = torch.minimum(counts, own.to(counts.dtype)).sum(1, dtype=torch.float64)
    norm, size = image.divisors[:, c]
    cosine = counts.double() @ own / (norm * bank.norms[row])  # half of it, times PARTS
    similarity = cosine.addcdiv(common, size + bank.totals[row], value=PARTS)
    return similarity.new_zeros(len(crops)).index_copy_(0, shown, similarity)
