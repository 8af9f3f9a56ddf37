"""Label files of the raw datasets -> train-id PNGs beside them, and class statistics.

The statistics are three JSON files: `sample_class_stats.json` lists `{train id: pixels, …, "file":
path}` per image, `sample_class_stats_dict.json` the same by path, `samples_with_class.json`
`[path, pixels]` per train id. Only train ids with pixels appear; their keys are strings.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmseg.datasets import CityscapesDataset, GTADataset, SynthiaDataset
from mmseg.datasets.class_statistics import IMAGES_FILE, STATISTICS_FILE
from mmseg.datasets.image_files import files_below, write_label
from mmseg.datasets.labels import CLASSES, IGNORE
from mmseg.datasets.loader import Mapped, each_item
from mmseg.system.files import atomic_write, remove_partials, require_writable, write_json
from mmseg.system.interruption import Interruption, Watch

Folder = str | Path
Statistics = dict[str, Any]
NUMBERED = "*[0-9].png"  # raw labels of GTA and SYNTHIA, not the converted ones
SPLITS = ("train", "val", "test")


def convert_gta(
    root: Folder, gt_dir: str = "labels", out_dir: Folder | None = None, processes: int = 4
) -> list[Statistics]:
    """Convert palette PNGs with Cityscapes' label ids and write the statistics to `out_dir`."""
    folder = Path(root, gt_dir)
    return _convert_numbered(convert_gta_label, folder, Path(out_dir or root), processes)


def convert_synthia(
    root: Folder, gt_dir: str = "GT/LABELS", out_dir: Folder | None = None, processes: int = 4
) -> list[Statistics]:
    """Convert 16-bit three-channel PNGs and write the statistics to `out_dir`."""
    folder = Path(root, gt_dir)
    return _convert_numbered(convert_synthia_label, folder, Path(out_dir or root), processes)


def convert_cityscapes(
    root: Folder, gt_dir: str = "gtFine", out_dir: Folder | None = None, processes: int = 4
) -> list[Statistics]:
    """Draw the polygons of all splits; write statistics of `train` and lists of each split."""
    folder, target = Path(root, gt_dir), Path(out_dir or root)
    suffix = CityscapesDataset.POLYGON_SUFFIX
    files = _list_files(folder, f"*{suffix}")
    statistics = _run(convert_cityscapes_label, files, target, processes)
    names = [file.relative_to(folder).as_posix() for file in files]
    pairs = list(zip(names, statistics, strict=True))
    train = [entry for name, entry in pairs if name.startswith("train/")]
    _require_classes(train)
    # What is published of the test images has no classes.
    _require_classes([entry for name, entry in pairs if not name.startswith("test/")])
    for split in SPLITS:
        inside = [name for name in names if name.startswith(f"{split}/")]
        if inside:
            lines = [name[len(split) + 1 : -len(suffix)] + "\n" for name in inside]
            with atomic_write(target / f"{split}.txt", "w") as file:
                file.writelines(lines)
    if train:
        write_statistics(train, target)
    return train


def convert_gta_label(path: Path) -> Statistics:
    """Convert one label file and return its statistics."""
    label = GTADataset.RAW_LABELS[0].read(path)
    return _write_converted(path, label, path.stem + GTADataset.SEG_MAP_SUFFIX)


def convert_synthia_label(path: Path) -> Statistics:
    """Convert one label file and return its statistics; the red channel holds the class."""
    label = SynthiaDataset.RAW_LABELS[0].read(path)
    return _write_converted(path, label, path.stem + SynthiaDataset.SEG_MAP_SUFFIX)


def convert_cityscapes_label(path: Path) -> Statistics:
    """Draw one polygon file and return its statistics."""
    label = CityscapesDataset.RAW_LABELS[-1].read(path)
    stem = path.name.removesuffix(CityscapesDataset.POLYGON_SUFFIX)
    return _write_converted(path, label, stem + CityscapesDataset.SEG_MAP_SUFFIX)


def write_statistics(statistics: Sequence[Statistics], out_dir: Path) -> None:
    """Write the three JSON files into `out_dir`; raise if no pixel of any label has a class."""
    _require_classes(statistics)
    by_file = {
        entry["file"]: {key: n for key, n in entry.items() if key != "file"} for entry in statistics
    }
    classes = sorted({key for counts in by_file.values() for key in counts}, key=int)
    by_class = {
        key: [[file, counts[key]] for file, counts in by_file.items() if key in counts]
        for key in classes
    }
    contents = {
        STATISTICS_FILE: list(statistics),
        "sample_class_stats_dict.json": by_file,
        IMAGES_FILE: by_class,
    }
    for name, content in contents.items():
        write_json(out_dir / name, content)


def _require_classes(statistics: Sequence[Statistics]) -> None:
    """Raise if there are labels, but not one of them has a class."""
    if statistics and all(entry.keys() == {"file"} for entry in statistics):
        raise ValueError(
            f"expected labels with pixels of the {len(CLASSES)} classes, got none in all "
            f"{len(statistics)} files: every pixel is ignored, as in '{statistics[0]['file']}'. "
            "Use the label files of the dataset, which hold ids and not colors, and check --gt-dir."
        )


def _convert_numbered(
    convert: Callable[[Path], Statistics], folder: Path, target: Path, processes: int
) -> list[Statistics]:
    statistics = _run(convert, _list_files(folder, NUMBERED), target, processes)
    write_statistics(statistics, target)
    return statistics


def _list_files(folder: Path, pattern: str) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"expected the label folder '{folder}', got no such folder. Give the dataset's "
            f"folder as the first argument and the labels' folder below it as --gt-dir."
        )
    names = sorted(files_below(folder, Path(pattern).suffix))
    files = [folder / name for name in names if fnmatchcase(name, pattern)]
    if not files:
        raise FileNotFoundError(
            f"expected label files '{pattern}' in '{folder}', got none. Check --gt-dir."
        )
    return files


def _run(
    convert: Callable[[Path], Statistics], files: Sequence[Path], target: Path, processes: int
) -> list[Statistics]:
    """Convert all files, in their order; before, make sure that all folders can be written."""
    for folder in sorted({target, *(file.parent for file in files)}):
        require_writable(folder)
        remove_partials(folder)  # of killed runs
    with Interruption() as interruption:
        watch = Watch(interruption, "label files", len(files))
        done = watch(each_item(Mapped(convert, files), processes if processes > 1 else 0))
        return list(tqdm(done, total=len(files), desc="labels", unit="file"))


def _write_converted(path: Path, label: np.ndarray, name: str) -> Statistics:
    """Write train ids beside `path` and return `{train id: pixels, …, "file": path}`."""
    target = path.with_name(name)
    write_label(target, label)
    counts = np.bincount(label.ravel(), minlength=256)
    present = {str(c): int(n) for c, n in enumerate(counts) if n > 0 and c != IGNORE}
    return {**present, "file": target.as_posix()}
