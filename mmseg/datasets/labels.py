"""Classes and colors, those of the 19-class street-scene benchmark, and what labels may hold.

Legend: a *label id* is the number that a dataset's own label files use (its class knows them), a
*train id* is 0…18 (255 = ignored).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.datasets.lookup import look_up, pixel_counts

IGNORE = 255
Palette = list[list[int]]  # rows of RGB

CLASS_COLORS = {
    "road": [128, 64, 128], "sidewalk": [244, 35, 232], "building": [70, 70, 70],
    "wall": [102, 102, 156], "fence": [190, 153, 153], "pole": [153, 153, 153],
    "traffic light": [250, 170, 30], "traffic sign": [220, 220, 0], "vegetation": [107, 142, 35],
    "terrain": [152, 251, 152], "sky": [70, 130, 180], "person": [220, 20, 60],
    "rider": [255, 0, 0], "car": [0, 0, 142], "truck": [0, 0, 70], "bus": [0, 60, 100],
    "train": [0, 80, 100], "motorcycle": [0, 0, 230], "bicycle": [119, 11, 32],
}  # fmt: skip
CLASSES: tuple[str, ...] = tuple(CLASS_COLORS)
PALETTE: Palette = list(CLASS_COLORS.values())


def distinct_colors(count: int) -> Palette:
    """Return up to 255 colors, none of them black (which is ignored) and no two the same.

    The bits of a number go to red, green and blue in turn, the lowest become the brightest.

    >>> distinct_colors(4)
    [[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    """
    bits = np.unpackbits(np.arange(1, count + 1, dtype=np.uint8)[:, None], axis=1)[:, ::-1]
    colors = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        colors[:, bit % 3] |= bits[:, bit] << (7 - bit // 3)
    return colors.tolist()


def with_palette(
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] | None,
    usual: Sequence[Sequence[int]] | None = None,
) -> tuple[tuple[str, ...], Palette | None]:
    """Return the names of classes and their colors as a dataset holds them; None without classes.

    Without a `palette`, it is the `usual` one if that has as many colors, else `distinct_colors`.
    `ValueError` for a name that occurs twice, or a palette of another length.
    """
    names = tuple(classes)
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(
            f"expected classes of different names, got {twice[0]!r} twice. Rename one of them."
        )
    if palette is not None and len(palette) != len(names):
        raise ValueError(
            f"expected a palette of {len(names)} colors, one for each of the classes, got "
            f"{len(palette)}. Correct the palette, or leave it out."
        )
    if not names:
        return names, None
    if palette is None:
        is_usual = usual is not None and len(usual) == len(names)
        palette = usual if is_usual else distinct_colors(len(names))
    return names, [list(color) for color in palette or ()]


@dataclass(frozen=True)
class LabelRule:
    """Which values the labels of a dataset may hold.

    On a GPU, a class that the network lacks ends in an assertion that names no file.
    """

    num_classes: int  # train ids are 0 … num_classes - 1
    ignore_index: int  # pixels that do not count; 255 is always ignored
    remedy: str  # how to get correct labels, for the error

    def check(self, label: np.ndarray, path: str | Path) -> None:
        """Raise `ValueError` if a label (H, W) uint8 holds any other value."""
        # 255 + 1 wraps to 0, so one pass is enough (0.1 ms for 1914x1052).
        if np.add(label, 1, dtype=np.uint8).max(initial=0) <= self.num_classes:
            return
        allowed = {*range(self.num_classes), self.ignore_index, IGNORE}
        if wrong := [value for value in np.unique(label).tolist() if value not in allowed]:
            listed = ", ".join(map(str, wrong[:5])) + (" …" if len(wrong) > 5 else "")
            raise ValueError(
                f"expected train ids 0…{self.num_classes - 1} or {self.ignore_index} (ignored) in "
                f"the label '{path}', got {listed}. {self.remedy}"
            )


def is_labeled(label: Any, ignore_index: int) -> bool:
    """Tell whether a label (any shape; an integer array or tensor) has a pixel that counts."""
    return bool(((label != ignore_index) & (label != IGNORE)).any())


def is_varied(label: Any, max_ratio: float, ignore_index: int) -> bool:
    """Tell whether a label has two classes, and none takes `max_ratio` of its labeled pixels.

    `label` is an integer array or tensor of any shape.

    >>> is_varied(np.array([0, 0, 1, 255]), 0.7, 255), is_varied(np.array([0, 0, 1]), 0.6, 255)
    (True, False)
    """
    counts = pixel_counts(np.asarray(label))
    counts[ignore_index] = 0
    return bool(np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < max_ratio)


def id_to_train_id(array: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """Translate label ids (integers of any shape) to train ids; ids not in `table` become 255.

    `table` maps label ids 0…65535 to train ids.

    >>> id_to_train_id(np.array([[7, 0], [33, 40000]]), {7: 0, 33: 18}).tolist()
    [[0, 255], [18, 255]]
    """
    lookup = np.full(1 << 16, IGNORE, np.uint8)
    lookup[list(table)] = list(table.values())
    if array.dtype == np.uint8:
        return look_up(lookup[:256], array)
    inside = (array >= 0) & (array < len(lookup))
    return np.where(inside, lookup[np.where(inside, array, 0)], np.uint8(IGNORE))
