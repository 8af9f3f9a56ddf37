"""Count the bank: how often each class occurs at each depth, in every stored crop.

Legend: M crops, C classes of the network, D = 256 depth bins, H×W pixels.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.datasets.labels import IGNORE, LabelRule
from mmseg.models.uda.depthmetric import depth_histogram
from mmseg.preprocessing.crops import CropFolder, each_item, redraw
from mmseg.system.files import atomic_write


class CropHistograms(Dataset[torch.Tensor]):
    """Item i is the float32 (C, D) histogram of crop i's written label and depth."""

    def __init__(self, folder: CropFolder, num: int, num_classes: int) -> None:
        self.folder, self.num, self.num_classes = folder, num, num_classes

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> torch.Tensor:
        self.folder.verify_image(index)
        label = self.folder.read("labels", index)  # (H, W)
        depth = self.folder.read("depth", index)  # (H, W)
        file = self.folder.file("labels", index)
        LabelRule(self.num_classes, IGNORE, redraw(file)).check(label, file)
        if label.shape != depth.shape:
            raise ValueError(
                f"expected label and depth of one size, got {label.shape} in '{file}' and "
                f"{depth.shape} in '{self.folder.file('depth', index)}'. {redraw(file)}"
            )
        return depth_histogram(torch.from_numpy(label), torch.from_numpy(depth), self.num_classes)


def count_bank(
    folder: CropFolder,
    num: int,
    num_classes: int,
    workers: int = 0,
    watch: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> torch.Tensor:
    """Return the bank (M, C, D) float32 of the first `num` crops, with a progress bar.

    Args:
        folder: of the crops.
        num: M.
        num_classes: C.
        workers: processes that share the work.
        watch: wraps the iterator of histograms; may end it with an error.
    """
    bank = torch.zeros(num, num_classes, NUM_BINS)
    histograms = watch(each_item(CropHistograms(folder, num, num_classes), workers))
    for index, histogram in enumerate(tqdm(histograms, total=num, desc="statistics", unit="crop")):
        bank[index] = histogram
    return bank


def save_bank(bank: torch.Tensor, path: str | Path) -> None:
    """Save the bank as a plain CPU tensor."""
    with atomic_write(path) as file:
        torch.save(bank.cpu().contiguous(), file)
