"""Count the bank: how often each class occurs at each depth, in every crop.

Crops are counted by the processes that draw them; those that an earlier run drew are read again.

Legend: M crops, C classes of the network, D = 256 depth bins, H×W pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.datasets.labels import IGNORE, LabelRule
from mmseg.datasets.loader import Mapped, each_item
from mmseg.models.uda.depthmetric import depth_histogram
from mmseg.preprocessing.crops import CropFolder, redraw, write_crop
from mmseg.system.files import partial_of

LARGEST_IN_MEMORY = 2**31  # bytes of a bank while it is counted


@contextmanager
def empty_bank(folder: Path, num: int, num_classes: int) -> Iterator[torch.Tensor]:
    """Give a bank (M, C, D) float32 of zeros, the pages of a temporary file if it is large."""
    shape = num, num_classes, NUM_BINS
    if bank_bytes(num, num_classes) <= LARGEST_IN_MEMORY:
        yield torch.zeros(shape)
        return
    scratch = partial_of(folder / "counts")
    scratch.unlink(missing_ok=True)
    try:
        size = num * num_classes * NUM_BINS
        yield torch.from_file(str(scratch), shared=True, size=size, dtype=torch.float32).view(shape)
    finally:
        scratch.unlink(missing_ok=True)


def bank_bytes(num: int, num_classes: int) -> int:
    """Return the size of a bank."""
    return num * num_classes * NUM_BINS * 4


def draw_and_count(
    dataset: Any, folder: CropFolder, seed: int, num_classes: int, index: int
) -> torch.Tensor:
    """Draw and write a crop, and return its histogram (C, D) float32."""
    crop = write_crop(dataset, folder, seed, index)
    return _histogram(folder, num_classes, index, crop["labels"], crop["depth"])


def _read_and_count(folder: CropFolder, num_classes: int, index: int) -> torch.Tensor:
    """Return the float32 (C, D) histogram of a crop's written label and depth."""
    folder.verify_image(index)
    label, depth = (folder.read(part, index) for part in ("labels", "depth"))  # (H, W) each
    return _histogram(folder, num_classes, index, label, depth)


def _histogram(
    folder: CropFolder, num_classes: int, index: int, label: np.ndarray, depth: np.ndarray
) -> torch.Tensor:
    file = folder.file("labels", index)
    LabelRule(num_classes, IGNORE, redraw(file)).check(label, file)
    if label.shape != depth.shape:
        raise ValueError(
            f"expected label and depth of one size, got {label.shape} in '{file}' and "
            f"{depth.shape} in '{folder.file('depth', index)}'. {redraw(file)}"
        )
    return depth_histogram(torch.from_numpy(label), torch.from_numpy(depth), num_classes)


def count_written(
    bank: torch.Tensor,
    folder: CropFolder,
    indices: Sequence[int],
    workers: int,
    watch: Callable[[Iterator[Any]], Iterator[Any]],
) -> None:
    """Count crops that are on disk into the bank (M, C, D), with a progress bar.

    `watch` wraps the iterator of histograms and may end it with an error.
    """
    task = Mapped(partial(_read_and_count, folder, bank.shape[1]), indices)
    fill(bank, indices, watch(each_item(task, workers)), "statistics")


def fill(
    bank: torch.Tensor | None, indices: Sequence[int], histograms: Iterable[Any], what: str
) -> None:
    """Put the histograms (C, D) of crops, as they come, into a bank if there is one."""
    bar = tqdm(histograms, total=len(indices), desc=what, unit="crop")
    for index, histogram in zip(indices, bar, strict=True):
        if bank is not None:
            bank[index] = histogram
