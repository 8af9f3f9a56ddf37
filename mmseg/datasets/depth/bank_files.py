"""Files of a bank: the class-wise depth histograms of the source crops, (M, C, D).

Legend: C classes, D = 256 depth bins (0…255), M source crops.
"""

import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmseg.datasets.depth.bins import NUM_BINS
from mmseg.datasets.depth.rows import compact
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, refuse_endless, sha256_of
from mmseg.system.safe_loading import UnreadableFileError, load_safely

ROWS = ".rows.pth"  # ends the name of the file that is mapped, instead of the bank's .pth
VERSION = 2  # of what is in it
Rows = dict[str, Tensor]


def load_bank(path: str | Path, dataset: str, device: torch.device | str = "cpu") -> Tensor:
    """Load the (M, C, D) float32 bank that `run_seg.py` wrote; errors are those of `open_bank`."""
    return open_bank(path, dataset, device).float()


def open_bank(
    path: str | Path, dataset: str, device: torch.device | str = "cpu", is_mapped: bool = False
) -> Tensor:
    """Load an (M, C, D) bank as it was saved.

    If it `is_mapped`, reading it takes no memory, and nobody may write into the file meanwhile.

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
    is_mapped = is_mapped and zipfile.is_zipfile(path)  # not those of torch before 1.6
    try:
        bank = load_safely(path, "a bank of depth statistics", device, is_mapped)
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
    return bank


def read_rows(path: str, dataset: str, command: Callable[[int], str]) -> Rows:
    """Return the rows of a bank, see `compact`, reading as little of it at once as possible.

    `command` tells how a bank of so many crops is made. `ConfigError`, beside the errors of
    `open_bank`, unless it holds at least one crop and only counts.
    """
    bank = open_bank(path, dataset, is_mapped=True)
    if not len(bank):
        raise ConfigError(
            f"'{path}': expected the statistics of at least one crop, got none. Make them "
            f"again with: {command(0)}"
        )
    low, high = torch.aminmax(bank)  # NaN if any is
    if not (low >= 0 and torch.isfinite(high)):
        crop = int((~(torch.isfinite(bank) & (bank >= 0))).flatten(1).any(1).nonzero()[0])
        raise ConfigError(
            f"'{path}': expected numbers of pixels, got values from {low:g} to {high:g}, the first "
            f"wrong one for crop {crop}. Make the statistics again with: {command(len(bank))}"
        )
    return compact(bank)


def mapped_rows(path: str | Path, make: Callable[[], Rows]) -> Rows:
    """Return the rows of the bank at `path`, mapped from a file beside it.

    All processes on a machine share the memory of what they read of it. It is made once, by `make`
    (see `compact`), and anew when the bank has changed. All processes of a run call this.
    """
    path = Path(path)
    if not path.is_file():
        return make()  # which says so
    file, mark = path.with_suffix(ROWS), fingerprint(path)
    rows = _read_rows(file, mark)
    if processes.any_process(rows is None):
        if rows is None and processes.is_main():
            _write_rows(file, mark, make())
        processes.barrier()
        rows = _read_rows(file, mark)
    if rows is None:  # on another disk than process 0's
        _write_rows(file, mark, make())
        rows = _read_rows(file, mark)
    assert rows is not None
    return rows


def fingerprint(path: Path) -> str:
    """Hash the content of a file of torch.save by the check sums that it keeps of its parts."""
    digest = hashlib.sha256(str(VERSION).encode())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            parts = sorted((part.CRC, part.file_size) for part in archive.infolist())
        digest.update(repr(parts).encode())
    else:
        digest.update(sha256_of(path).encode())
    return digest.hexdigest()


def _read_rows(file: Path, mark: str) -> Rows | None:
    """Map the rows in a file; None if there are none, or those of another bank."""
    if not file.is_file():
        return None
    try:
        content = load_safely(file, "rows of a bank", is_mapped=True)
    except UnreadableFileError:  # of an unfinished copy, for example: it is made anew
        return None
    is_own = isinstance(content, dict) and content.get("bank") == mark
    return content["rows"] if is_own else None


def _write_rows(file: Path, mark: str, rows: Rows) -> None:
    with atomic_write(file) as stream:
        torch.save({"bank": mark, "rows": rows}, stream)
