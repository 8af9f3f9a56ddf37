"""Count the bank: how often each class occurs at each depth, in every stored crop.

Legend: M crops, C classes of the network, D = 256 depth bins, H×W pixels.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.datasets.labels import IGNORE, LabelRule
from mmseg.datasets.loader import Mapped, each_item
from mmseg.models.uda.depthmetric import depth_histogram
from mmseg.preprocessing.crops import CropFolder, redraw


def _histogram(folder: CropFolder, num_classes: int, index: int) -> torch.Tensor:
    """Return the float32 (C, D) histogram of a crop's written label and depth."""
    folder.verify_image(index)
    label, depth = (folder.read(part, index) for part in ("labels", "depth"))  # (H, W) each
    file = folder.file("labels", index)
    LabelRule(num_classes, IGNORE, redraw(file)).check(label, file)
    if label.shape != depth.shape:
        raise ValueError(
            f"expected label and depth of one size, got {label.shape} in '{file}' and "
            f"{depth.shape} in '{folder.file('depth', index)}'. {redraw(file)}"
        )
    return depth_histogram(torch.from_numpy(label), torch.from_numpy(depth), num_classes)


def count_bank(
    folder: CropFolder,
    num: int,
    num_classes: int,
    workers: int,
    watch: Callable[[Iterator[Any]], Iterator[Any]],
) -> torch.Tensor:
    """Return the bank (M, C, D) float32 of the first `num` crops, with a progress bar.

    `watch` wraps the iterator of histograms and may end it with an error.
    """
    bank = torch.zeros(num, num_classes, NUM_BINS)
    task = Mapped(partial(_histogram, folder, num_classes), range(num))
    histograms = watch(each_item(task, workers))
    for index, histogram in enumerate(tqdm(histograms, total=num, desc="statistics", unit="crop")):
        bank[index] = histogram
    return bank
