"""The source crops on disk that replace a drawn one."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.image_files import explained, read_color, read_unchanged
from mmseg.datasets.labels import IGNORE, LabelRule
from mmseg.system.errors import ConfigError

SETTINGS_FILE = "preprocessing.json"  # the choices that decide the content of the crops beside it
DEPTH_KEY = "depth_recipe"  # in that file
COMPARED_CROPS = 8  # with their counts in the bank


class CropStore:
    """Crops `<i>.png` in a folder of images and one of labels, written by `run_seg.py`.

    Train ids in labels must be below `num_classes` (None checks nothing); errors name `command`.
    """

    def __init__(
        self,
        images_path: str | Path,
        labels_path: str | Path,
        num_classes: int | None = None,
        command: str = "python run_seg.py --config … --dataset_name …",
    ) -> None:
        self.images_path, self.labels_path = Path(images_path), Path(labels_path)
        self._remedy = f"Make the crops with: {command}"
        self._rule = None if num_classes is None else LabelRule(num_classes, IGNORE, self._remedy)

    def image_file(self, index: int) -> Path:
        """Return the path of image `index`."""
        return self.images_path / f"{index}.png"

    def label_file(self, index: int) -> Path:
        """Return the path of label `index`."""
        return self.labels_path / f"{index}.png"

    def verify(self, count: int) -> None:
        """Raise unless both folders hold the crops 0 … count - 1."""
        for folder in (self.images_path, self.labels_path):
            expected = f"expected {count} source crops in '{folder}'"
            if not folder.is_dir():
                raise FileNotFoundError(f"{expected}, got no such folder. {self._remedy}")
            present = {file.name for file in folder.iterdir()}
            if missing := [i for i in range(count) if f"{i}.png" not in present]:
                found = f"none for {len(missing)} of them, the first '{missing[0]}.png'"
                raise FileNotFoundError(f"{expected}, got {found}. {self._remedy}")

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return crop `index`: image (H, W, 3) uint8 BGR and label (H, W) uint8 train ids."""
        image = self._read(self.image_file(index), partial(read_color, is_part=True))
        label = self._read(self.label_file(index), _read_label)
        if self._rule is not None:
            self._rule.check(label, self.label_file(index))
        if image.shape[:2] != label.shape:
            raise ValueError(
                f"expected a label of the size of '{self.image_file(index)}' {image.shape[:2]}, "
                f"got {label.shape} in '{self.label_file(index)}'. {self._remedy}"
            )
        return image, label

    def _read(self, path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
        advice = f"Delete it: run_seg.py redraws missing crops. {self._remedy}"
        with explained("Source crop: ", advice):
            return read(path)


def require_counts(crops: CropStore, sizes: np.ndarray, path: str, command: str) -> None:
    """Raise unless a few crops, spread over the folder, have the class pixels that a bank states.

    These are `sizes` (C, M), in the file `path`.

    The bank of another run differs for nearly all crops; half of them are enough to raise, and a
    few that were replaced by hand do no harm.
    """
    numbers = np.unique(np.linspace(0, sizes.shape[1] - 1, COMPARED_CROPS).astype(int)).tolist()
    shapes, wrong = {}, []
    for index in numbers:
        _, label = crops.read(index)
        shapes.setdefault(label.shape, index)
        found = np.bincount(label.ravel(), minlength=256)[: len(sizes)]
        stated = sizes[:, index]
        for c in (found != stated).nonzero()[0].tolist()[:1]:
            wrong.append(f"crop {index} has {int(found[c])} pixels of class {c}, not {stated[c]:g}")
    if 2 * len(wrong) >= len(numbers):
        raise ConfigError(
            f"expected '{path}' to be the statistics of the crops in '{crops.labels_path}', got "
            f"those of others: {wrong[0]}. Let uda.matrix_path, uda.croped_images_path and "
            f"uda.croped_labels_path name files of one run of: {command}"
        )
    if len(shapes) > 1:
        listed = ", ".join(f"{w}x{h} (crop {i})" for (h, w), i in shapes.items())
        raise ConfigError(
            f"expected source crops of one size in '{crops.labels_path}', got {listed}. Make "
            f"them again with: {command}"
        )


def _read_label(path: Path) -> np.ndarray:
    """Read a label; the original program wrote them in every channel of a color image."""
    stored = read_unchanged(path, lossless=True)
    if stored.dtype != np.uint8:
        raise ValueError(f"expected a label of 8 bits at '{path}', got {stored.dtype}.")
    return stored if stored.ndim == 2 else stored[..., 0]


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings file of a folder of crops."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"expected the settings of the crops beside it at '{path}', got a broken file. Delete "
            "that folder or choose another --source_preprocessed_path."
        )
    return found
