"""Count the pixels of every class in the labels of a dataset, once, and keep the counts.

They lie beside the data, or where these may not be written, in the user's cache. The name of the
file says which folder and which kind of labels; a fingerprint inside says of which files. Labels
that have changed are counted again.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.loader import Mapped, each_item
from mmseg.datasets.pipelines.reading import reduce_zero
from mmseg.system import processes
from mmseg.system.archives import archives_of
from mmseg.system.files import atomic_write, require_writable
from mmseg.system.waiting import beat

MOST_WORKERS = 8
NUM_VALUES = 256
Counts = list[dict[str, Any]]  # `{train id: pixels, …, "file": name}` per label


def label_counts(dataset: CustomDataset) -> Counts:
    """Return how many pixels of each class every label has; the same on all processes.

    Process 0 counts, with a progress bar, unless the counts are there from another time.
    """
    names = [info["ann"]["seg_map"] for info in dataset.img_infos]
    counts = _known_or_counted(dataset, names) if processes.is_main() else []
    return processes.broadcast_object(counts)


def _known_or_counted(dataset: CustomDataset, names: Sequence[str]) -> Counts:
    print_of_files = _fingerprint(dataset, names)
    places = [folder / _file_name(dataset) for folder in _folders(dataset)]
    for place in places:
        if (known := _read(place, print_of_files)) is not None:
            return known
    counts = _count(dataset, names)
    for place in places:
        try:
            require_writable(place.parent)
        except OSError:  # read-only data are fine: there is another place
            continue
        with atomic_write(place, "w") as stream:
            json.dump({"fingerprint": print_of_files, "counts": counts}, stream)
        break
    return counts


def _count(dataset: CustomDataset, names: Sequence[str]) -> Counts:
    from tqdm import tqdm

    workers = min(MOST_WORKERS, (os.cpu_count() or 1) // 2)
    found = each_item(Mapped(_Counter(dataset), names), workers if len(names) > 99 else 0)
    counts = []
    for name, pixels in tqdm(
        zip(names, found, strict=True), "Counting classes", len(names), unit="label"
    ):
        beat(f"counting the classes in {name}")
        counts.append({**pixels, "file": name})
    return counts


class _Counter:
    """Counts one label; its values are those that training sees."""

    def __init__(self, dataset: CustomDataset) -> None:
        assert dataset.ann_dir is not None
        self.folder, self.read = dataset.ann_dir, dataset.label_format.read
        self.reduces, self.rule = dataset.reduce_zero_label, dataset.label_rule
        self.ignored = dataset.ignore_index

    def __call__(self, name: str) -> dict[str, int]:
        path = self.folder / name
        label = self.read(path)
        label = reduce_zero(label) if self.reduces else label
        if self.rule is not None:
            self.rule.check(label, path)
        pixels = np.bincount(label.ravel(), minlength=NUM_VALUES)[: NUM_VALUES - 1].tolist()
        return {str(c): n for c, n in enumerate(pixels) if n > 0 and c != self.ignored}


def _folders(dataset: CustomDataset) -> list[Path]:
    """Return where counts may lie, the first choice first."""
    assert dataset.ann_dir is not None
    archives = archives_of(dataset.ann_dir)
    beside = archives[0].parent if archives else Path(dataset.data_root or dataset.ann_dir.parent)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [beside, cache / "cdda"]


def _file_name(dataset: CustomDataset) -> str:
    """Return a name that tells folders, and ways to read them, apart."""
    assert dataset.ann_dir is not None
    place = dataset.ann_dir.absolute().as_posix()
    how = (str(dataset.label_format), dataset.reduce_zero_label, dataset.ignore_index)
    key = hashlib.sha256(repr((place, *how)).encode()).hexdigest()
    return f"class_counts-{key[:12]}.json"


def _fingerprint(dataset: CustomDataset, names: Sequence[str]) -> str:
    """Return a hash of the names, sizes and times of the labels, or of their archives."""
    assert dataset.ann_dir is not None
    files = archives_of(dataset.ann_dir) or [dataset.ann_dir / name for name in names]
    digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape"))
    for file in files:
        facts = file.stat()
        digest.update(f"{facts.st_size} {facts.st_mtime_ns} ".encode())
    return digest.hexdigest()


def _read(place: Path, fingerprint: str) -> Counts | None:
    """Return the counts in a file if they are of these labels."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or cut off by somebody else: they are counted again
        return None
    is_right = isinstance(content, dict) and content.get("fingerprint") == fingerprint
    return content["counts"] if is_right else None
