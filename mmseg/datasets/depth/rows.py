"""The rows of a bank: what is left of the histograms of its crops without what is empty.

A crop shows about half of the classes. The rows of a large bank are of 16 bits where that is enough
(a class has seldom more pixels at a depth), so they take about a seventh of the histograms.

Legend: C classes, D = 256 depth bins (0…255), M source crops, K bins that occur in any of them, R
rows.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmseg.datasets.depth.bins import NUM_BINS

NARROW = torch.int16
MOST = torch.iinfo(NARROW).max
SMALL = 2**28  # numbers in rows that are kept as they are: 1 GiB
PARTS = 2.0**50  # similarities are added up in these parts of 1
AT_ONCE = 2**23  # numbers of the histograms that are looked at together


def compact(histograms: Tensor) -> dict[str, Tensor]:
    """Turn (M, C, D) counts into the tensors of a `Bank`, reading them piece by piece.

    Its stores are `counts`, or for a large bank `counts_narrow` and `counts_wide`, which has rows
    with counts above 2¹⁵ - 1 or numbers that are not whole. Row 0 of each is empty.
    """
    dtype = histograms.dtype if histograms.is_floating_point() else torch.float32
    num_crops, num_classes, _ = histograms.shape
    sizes = torch.zeros(num_classes, num_crops, dtype=dtype)
    is_narrow = torch.zeros(num_crops, num_classes, dtype=torch.bool)
    occurs = torch.zeros(NUM_BINS, dtype=torch.bool)
    for some, piece in _pieces(histograms, dtype):
        sizes[:, some] = piece.sum(2).T
        is_narrow[some] = (piece.amax(2) <= MOST) & (piece == piece.to(NARROW)).all(2)
        occurs |= (piece > 0).any(1).any(0)
    is_shown, bins = sizes.T > 0, occurs.nonzero()[:, 0]
    kinds = {"counts": (is_shown, dtype)}
    if is_shown.sum() * len(bins) > SMALL:
        kinds = {
            "counts_narrow": (is_shown & is_narrow, NARROW),
            "counts_wide": (is_shown & ~is_narrow, dtype),
        }
    stores, places = {}, []
    for name, (mask, kind) in kinds.items():
        place = torch.where(mask, mask.flatten().cumsum(0).view_as(mask), 0)  # (M, C)
        stores[name] = torch.zeros(1 + int(mask.sum()), len(bins), dtype=kind)
        for some, piece in _pieces(histograms, dtype):
            stores[name][place[some][mask[some]]] = piece[mask[some]][:, bins].to(kind)
        places.append(place.int())
    masks = [mask for mask, _ in kinds.values()]
    return {
        **stores,
        "places": torch.stack(places),
        "sizes": sizes,
        "size_norms": _norms(sizes.T) * PARTS,
        "bins": bins,
        **_numbered(places, masks),
        **_measured(list(stores.values())),
    }


def _numbered(places: list[Tensor], masks: list[Tensor]) -> dict[str, Tensor]:
    """Return the rows of all stores one after the other: those of the crops, and their classes."""
    rows, classes, first = torch.zeros_like(places[0]), [], 0
    for place, mask in zip(places, masks, strict=True):
        rows = torch.where(mask, place + first, rows)
        classes += [torch.zeros(1, dtype=torch.int32), mask.nonzero()[:, 1].int()]
        first += 1 + int(mask.sum())
    return {"rows": rows.T.contiguous(), "classes": torch.cat(classes)}


def _measured(stores: list[Tensor]) -> dict[str, Tensor]:
    """Return the sums and norms of all rows."""
    totals = torch.cat([store.sum(1, dtype=torch.float64) for store in stores])
    norms = torch.cat([_norms(store) for store in stores])
    return {"totals": totals.where(totals > 0, 1.0), "norms": 2 / PARTS * norms}


def _pieces(histograms: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Yield a few crops' histograms after the other, each with their place."""
    step = max(1, AT_ONCE // (histograms.shape[1] * NUM_BINS))
    for first in range(0, len(histograms), step):
        yield slice(first, first + step), histograms[first : first + step].to(dtype)


def _norms(rows: Tensor) -> Tensor:
    """Return the L2 norm of each row, (n, K), 1 for 0; sums of squares of counts are exact."""
    step = max(1, AT_ONCE // max(1, rows.shape[1]))
    norms = torch.cat([part.double().square().sum(1).sqrt() for part in rows.split(step)])
    return norms.where(norms > 0, 1.0)
