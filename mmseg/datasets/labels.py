"""Classes and palette of the 19-class street-scene benchmark, and what labels may hold.

Legend: a *label id* is the number that a dataset's own label files use (its class knows them), a
*train id* is 0…18 (255 = ignored).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IGNORE = 255

CLASSES: tuple[str, ...] = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)

PALETTE: list[list[int]] = [
    [128, 64, 128],
    [244, 35, 232],
    [70, 70, 70],
    [102, 102, 156],
    [190, 153, 153],
    [153, 153, 153],
    [250, 170, 30],
    [220, 220, 0],
    [107, 142, 35],
    [152, 251, 152],
    [70, 130, 180],
    [220, 20, 60],
    [255, 0, 0],
    [0, 0, 142],
    [0, 0, 70],
    [0, 60, 100],
    [0, 80, 100],
    [0, 0, 230],
    [119, 11, 32],
]


@dataclass(frozen=True)
class LabelRule:
    """Which values the labels of a dataset may hold.

    A network asked for another class ends on a GPU with an assertion that names nothing.

    Attributes:
        num_classes: train ids are 0 … num_classes - 1.
        ignore_index: value of pixels that do not count; 255 is always one.
        remedy: how right labels come about, for the error.
    """

    num_classes: int
    ignore_index: int
    remedy: str

    def check(self, label: np.ndarray, path: str | Path) -> None:
        """Raise `ValueError` if a label (H, W) uint8 holds another value."""
        # The sum wraps, 255 + 1 = 0, so that one pass is enough (0.1 ms for 1914x1052).
        if np.add(label, 1, dtype=np.uint8).max(initial=0) <= self.num_classes:
            return
        ids = [int(value) for value in np.unique(label)]
        wrong = [i for i in ids if i >= self.num_classes and i not in (self.ignore_index, IGNORE)]
        if wrong:
            listed = ", ".join(map(str, wrong[:5])) + (" …" if len(wrong) > 5 else "")
            raise ValueError(
                f"expected train ids 0…{self.num_classes - 1} or {self.ignore_index} (ignored) in "
                f"the label '{path}', got {listed}. {self.remedy}"
            )


def id_to_train_id(array: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """Translate label ids to train ids; an id that the table lacks becomes 255.

    Args:
        array: integers of any shape and type.
        table: label id -> train id, ids 0…65535.

    >>> id_to_train_id(np.array([[7, 0], [33, 40000]]), {7: 0, 33: 18}).tolist()
    [[0, 255], [18, 255]]
    """
    lookup = np.full(1 << 16, IGNORE, np.uint8)
    lookup[list(table)] = list(table.values())
    inside = (array >= 0) & (array < len(lookup))
    return np.where(inside, lookup[np.where(inside, array, 0)], np.uint8(IGNORE))


def flat_palette(colors: list[list[int]]) -> list[int]:
    """Flatten rows of RGB to the 768 numbers of a PNG palette, zero where there is no row."""
    flat = np.zeros((256, 3), np.uint8)
    flat[: len(colors)] = colors
    return flat.reshape(-1).tolist()
