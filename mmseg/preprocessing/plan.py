"""Before anything is written: how much work is ahead, and whether the folder is suitable."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from mmseg.datasets.crop_store import DEPTH_KEY, SETTINGS_FILE, read_settings
from mmseg.datasets.fingerprint import add_files
from mmseg.datasets.image_files import encode_png
from mmseg.datasets.joint import parts_of
from mmseg.preprocessing.count_bank import LARGEST_IN_MEMORY, bank_bytes
from mmseg.preprocessing.crops import PARTS, CropFolder, draw_crop
from mmseg.system.files import write_json

DISK_BLOCK = 4096  # bytes; small files take a whole block
MEASURED_CROPS = 5


@dataclass(frozen=True)
class Settings:
    """What decides the content of a folder of crops."""

    dataset_name: str
    source: str  # hash of the source side of the config and of its list of files
    seed: int
    num: int
    crop_size: tuple[int, ...]  # (H, W)
    depth_recipe: str | None = None  # hash of how the depth maps were made, if known

    def write(self, folder: CropFolder) -> None:
        """Leave the settings beside the crops."""
        write_json(folder.root / SETTINGS_FILE, asdict(self))

    def check(self, folder: CropFolder) -> None:
        """Raise `ValueError` if the folder holds crops that were made with other settings."""
        if folder.is_empty():
            return
        if not (path := folder.root / SETTINGS_FILE).is_file():
            raise ValueError(
                f"expected {folder.root} to be empty or written by run_seg.py, got crops without "
                f"{SETTINGS_FILE}. Delete them, choose another --source_preprocessed_path or reuse "
                "them with --not_get_images."
            )
        found = read_settings(path)
        for key, value in json.loads(json.dumps(asdict(self))).items():
            # Folders of earlier versions do not name their depth maps.
            if found.get(key) != value and (key in found or key != DEPTH_KEY):
                raise ValueError(
                    f"expected {folder.root} to hold crops with {key} = {value!r}, got "
                    f"{found.get(key)!r}. Delete that folder or choose another "
                    "--source_preprocessed_path."
                )


@dataclass(frozen=True)
class Estimate:
    """What is ahead: number of files, bytes on disk and seconds."""

    files: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.files} files, about {size_text(self.bytes)}, about {time_text(self.seconds)}"


def estimate(
    dataset: Any, seed: int, num_crops: int, bank_size: tuple[int, int], workers: int
) -> Estimate:
    """Extrapolate from a few crops that are drawn and encoded, but not kept.

    `num_crops` are still to be drawn; `bank_size` is (crops, classes), with 0 crops for no bank.
    """
    num_histograms, num_classes = bank_size
    encoded_bytes, seconds, count = 0, [], min(MEASURED_CROPS, num_crops)
    for index in range(count):
        start = time.perf_counter()
        parts = [encode_png(pixels) for pixels in draw_crop(dataset, seed, index).values()]
        seconds.append(time.perf_counter() - start)
        encoded_bytes += sum(math.ceil(len(part) / DISK_BLOCK) * DISK_BLOCK for part in parts)
    bank = bank_bytes(num_histograms, num_classes)
    copies = 1 if bank <= LARGEST_IN_MEMORY else 2  # it is counted on disk, then saved
    # The median, as the first crop also pays for opening things. A crop that is there is read again
    # for the statistics, which costs a fifth of drawing it.
    read_again = max(0, num_histograms - num_crops)
    work = (median(seconds) if seconds else 0.05) * (num_crops + 0.2 * read_again)
    return Estimate(
        files=len(PARTS) * num_crops + (num_histograms > 0),
        bytes=round(encoded_bytes / max(count, 1) * num_crops) + copies * bank,
        seconds=work / max(workers, 1),
    )


def check_disk(folder: CropFolder, needed: int) -> None:
    """Raise `OSError` if the disk of `folder` has less than `needed` bytes left."""
    existing = next(p for p in [folder.root, *folder.root.absolute().parents] if p.is_dir())
    if (free := shutil.disk_usage(existing).free) < needed:
        raise OSError(
            f"expected {size_text(needed)} of free disk space at {folder.root}, got "
            f"{size_text(free)}. Free some, choose another --source_preprocessed_path, or draw "
            "fewer crops with --num."
        )


def source_fingerprint(train_cfg: Mapping[str, Any], dataset: Any) -> str:
    """Hash what the crops depend on: `data.train` without its target, and the source's files.

    Of the files, all names and the sizes of a few dozen count: enough to notice another dataset.
    """
    digest = hashlib.sha256()
    relevant = {key: value for key, value in train_cfg.items() if key != "target"}
    digest.update(json.dumps(relevant, sort_keys=True, default=str).encode())
    for source in parts_of(dataset.source):
        add_files(digest, source.img_dir, [info["filename"] for info in source.img_infos])
    return digest.hexdigest()[:16]


def size_text(num_bytes: float) -> str:
    """Write a number of bytes for people.

    >>> size_text(1_530_000_000)
    '1.5 GB'
    """
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} GB"


def time_text(seconds: float) -> str:
    """Write a duration for people.

    >>> time_text(4000)
    '1 h 07 min'
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
