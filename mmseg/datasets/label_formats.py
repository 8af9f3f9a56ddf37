"""What label files hold, and how train ids are made of it: ids, colors, a raw dataset's own.

Legend: H×W pixels; a *label id* is the number that a file uses, a *train id* the network's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from mmseg.datasets.image_files import read_label, read_unchanged
from mmseg.datasets.labels import IGNORE, id_to_train_id

Reader = Callable[[Path], np.ndarray]  # -> (H, W) uint8 train ids
Others = Literal["refuse", "ignore"]  # what happens with values that no class has


@dataclass(frozen=True)
class LabelFormat:
    """The ending of the names of label files, which replaces that of images, and what they hold."""

    suffix: str
    read: Reader

    def __str__(self) -> str:
        """Name the format, in the same way in every process."""
        return f"{self.suffix} {getattr(self.read, '__qualname__', self.read)}"


@dataclass(frozen=True)
class TrainIds:
    """Train ids themselves."""

    remedy: str = ""

    def __call__(self, path: Path) -> np.ndarray:
        """Return the train ids (H, W) of a file."""
        return read_label(path, self.remedy)


@dataclass(frozen=True)
class LabelIds:
    """Label ids as gray values of 8 or 16 bits, or as indices of a palette."""

    train_ids: Mapping[int, int]
    others: Others = "ignore"
    ignored: tuple[int, ...] = (IGNORE,)
    remedy: str = ""

    def __call__(self, path: Path) -> np.ndarray:
        """Return the train ids (H, W) of a file; `ValueError` for ids that are not expected."""
        label = self._read(path)
        if self.others == "refuse":
            allowed = {*self.train_ids, *self.ignored}
            if wrong := [v for v in np.unique(label).tolist() if v not in allowed]:
                shown = ", ".join(map(str, wrong[:5])) + (" …" if len(wrong) > 5 else "")
                raise ValueError(
                    f"expected the label ids of the table of classes in the label '{path}', got "
                    f"{shown}. Add them to the table or to ignored_ids. {self.remedy}".rstrip()
                )
        return id_to_train_id(label, self.train_ids)

    def _read(self, path: Path) -> np.ndarray:
        found = read_unchanged(path, lossless=True)
        if found.ndim == 2 and found.dtype == np.uint16:
            return found
        return read_label(path, self.remedy)


@dataclass(frozen=True)
class LabelColors:
    """Classes as RGB colors, also of a palette."""

    colors: Mapping[tuple[int, int, int], int]  # color -> train id
    others: Others = "refuse"
    ignored: tuple[tuple[int, int, int], ...] = ((0, 0, 0),)
    remedy: str = ""

    @cached_property
    def lookup(self) -> tuple[np.ndarray, np.ndarray]:
        """The codes of the colors, sorted, and their train ids."""
        known = {**dict.fromkeys(self.ignored, IGNORE), **self.colors}
        codes = {(r << 16) | (g << 8) | b: train_id for (r, g, b), train_id in known.items()}
        order = sorted(codes)
        return np.array(order), np.array([codes[c] for c in order], np.uint8)

    def __call__(self, path: Path) -> np.ndarray:
        """Return the train ids (H, W) of a file; `ValueError` for colors that are not expected."""
        stored = read_unchanged(path, lossless=True)
        if stored.dtype != np.uint8:
            raise ValueError(
                f"expected colors of 8 bits in the label '{path}', got {stored.dtype}. Set "
                "labels='ids' if these are ids."
            )
        planes = [stored] * 3 if stored.ndim == 2 else np.moveaxis(stored[..., :3], -1, 0)
        blue, green, red = (plane.astype(np.int64) for plane in planes)
        found = (red << 16) | (green << 8) | blue
        codes, train_ids = self.lookup
        place = np.searchsorted(codes, found).clip(max=len(codes) - 1)
        is_known = codes[place] == found
        if self.others == "refuse" and not is_known.all():
            code = int(found[~is_known][0])
            color = [code >> 16, code >> 8 & 255, code & 255]
            raise ValueError(
                f"expected the colors of the table of classes in the label '{path}', got {color}. "
                f"Add it to the table or to ignored_colors. {self.remedy}".rstrip()
            )
        return np.where(is_known, train_ids[place], np.uint8(IGNORE))


@dataclass(frozen=True)
class FirstChannelIds:
    """SYNTHIA's files of 16 bits: the class in the red channel, the instance in the green one."""

    train_ids: Mapping[int, int]

    def __call__(self, path: Path) -> np.ndarray:
        """Return the train ids (H, W) of a file."""
        stored = read_unchanged(path, lossless=True)
        if stored.ndim != 3:
            raise ValueError(
                f"expected a three-channel PNG (class, instance, unused) at '{path}', got one "
                f"channel. Use the files of GT/LABELS as they are downloaded."
            )
        return id_to_train_id(stored[..., 2], self.train_ids)
