"""Count the bank: how often each class occurs at each depth, in every stored crop.

Legend: M crops, C = 19 classes, D = 256 depth bins, H×W pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from mmseg.datasets.depth import NUM_BINS
from mmseg.datasets.labels import CLASSES
from mmseg.files import atomic_write
from mmseg.models.uda.depthmetric import depth_histogram
from mmseg.preprocessing.crops import CropFolder, each_item


class CropHistograms(Dataset[torch.Tensor]):
    """Item i is the float32 (C, D) histogram of crop i's written label and depth."""

    def __init__(self, folder: CropFolder, num: int) -> None:
        self.folder, self.num = folder, num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> torch.Tensor:
        label = torch.from_numpy(self.folder.read("labels", index))  # (H, W)
        depth = torch.from_numpy(self.folder.read("depth", index))  # (H, W)
        if label.shape != depth.shape:
            raise ValueError(
                f"expected label and depth of one size, got {tuple(label.shape)} in "
                f"{self.folder.file('labels', index)} and {tuple(depth.shape)} in "
                f"{self.folder.file('depth', index)}; draw the crop anew."
            )
        return depth_histogram(label, depth, num_classes=len(CLASSES))


def count_bank(folder: CropFolder, num: int, workers: int = 0) -> torch.Tensor:
    """Return the bank (M, C, D) float32 of the first `num` crops, with a progress bar."""
    bank = torch.zeros(num, len(CLASSES), NUM_BINS)
    histograms = each_item(CropHistograms(folder, num), workers)
    for index, histogram in enumerate(tqdm(histograms, total=num, desc="statistics", unit="crop")):
        bank[index] = histogram
    return bank


def save_bank(bank: torch.Tensor, path: str | Path) -> None:
    """Save the bank as a plain CPU tensor."""
    with atomic_write(path) as file:
        torch.save(bank.cpu().contiguous(), file)
