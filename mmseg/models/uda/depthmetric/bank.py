"""The bank: class-wise depth histograms of the source crops that `run_seg.py` drew.

Legend: B images, C classes, D = 256 depth bins (0…255), M source crops.
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.system.files import refuse_endless
from mmseg.system.safe_loading import UnreadableFileError, load_safely


class Bank(nn.Module):
    """The histograms of the source crops, without their empty rows and bins.

    A crop shows about half of the classes, and 8-bit depth fills 119 of the 256 bins, so only about
    a quarter remains to be stored and compared.

    Args:
        histograms: (M, C, D) counts.
    """

    # R rows, one per class that a crop shows, sorted by class; K bins that occur in any crop.
    counts: Tensor  # (R + 1, K); the last row is empty
    norms: Tensor  # (R + 1,) L2 norm of a row
    crops: Tensor  # (R,) int64, crop of a row
    rows: Tensor  # (M, C) int64, row of a crop's class; R where the crop lacks it
    sizes: Tensor  # (M, C) pixels of a crop's class
    bins: Tensor  # (K,) int64

    def __init__(self, histograms: Tensor) -> None:
        super().__init__()
        if not histograms.is_floating_point():
            histograms = histograms.float()
        sizes = histograms.sum(2)
        is_shown = (sizes > 0).T  # (C, M)
        bins = histograms.amax((0, 1)).nonzero()[:, 0]
        shown = histograms.transpose(0, 1)[is_shown][:, bins]  # (R, K)
        counts = torch.cat([shown, shown.new_zeros(1, len(bins))])
        rows = (is_shown.flatten().cumsum(0) - 1).view_as(is_shown)
        buffers = {
            "counts": counts,
            "norms": counts.norm(dim=1),
            "crops": is_shown.nonzero()[:, 1],
            "rows": rows.where(is_shown, len(counts) - 1).T.contiguous(),
            "sizes": sizes,
            "bins": bins,
        }
        for name, value in buffers.items():  # not saved: the bank has its own file
            self.register_buffer(name, value, persistent=False)
        self.ends = [0, *is_shown.sum(1).cumsum(0).tolist()]  # class c: rows ends[c]…ends[c + 1]

    def histograms(self, index: Tensor) -> Tensor:
        """Return the (B, C, D) histograms of the crops numbered `index`, (B,)."""
        counts = self.counts[self.rows[index]]  # (B, C, K)
        whole = counts.new_zeros(*counts.shape[:2], NUM_BINS)
        return whole.index_copy_(2, self.bins, counts)


def load_bank(path: str | Path, dataset: str, device: torch.device | str = "cpu") -> Tensor:
    """Load the (M, C, D) float32 bank that `run_seg.py` wrote.

    Raises:
        FileNotFoundError, ValueError: with the command that makes it.
        UnsafeFileError: if the file contains more than a tensor.
    """
    path = Path(path)
    command = (
        f"python run_seg.py --config <this config> --dataset_name {dataset} "
        f"--source_preprocessed_path {path.parent}"
    )
    if numbered := re.search(r"_(\d+)_distribution", path.name):
        command += f" --num {numbered[1]}"
    refuse_endless(path, "a bank of depth statistics")
    if not path.is_file():
        raise FileNotFoundError(f"No depth statistics at '{path}'. Create them with: {command}")
    try:
        bank = load_safely(path, "a bank of depth statistics", device)
    except UnreadableFileError as error:
        raise ValueError(
            f"'{path}': expected a tensor saved by run_seg.py, got a file that cannot be read "
            f"({error}); create it again with: {command}"
        ) from error
    if not isinstance(bank, Tensor) or bank.ndim != 3 or bank.shape[2] != NUM_BINS:
        found = tuple(bank.shape) if isinstance(bank, Tensor) else type(bank).__name__
        raise ValueError(
            f"'{path}': expected a tensor (crops, classes, {NUM_BINS}), got {found}; "
            f"create it again with: {command}"
        )
    return bank.float()
