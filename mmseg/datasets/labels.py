"""Classes, palettes and id maps of the 19-class street-scene benchmark.

This is the only place that knows them. Legend: a *label id* is the number that a data set's own
label files use, a *train id* is 0…18 (255 = ignored).
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

# Label id -> train id, of Cityscapes (and GTA) and of SYNTHIA; all other ids are ignored.
CITYSCAPES_ID_TO_TRAIN_ID: dict[int, int] = {
    7: 0,
    8: 1,
    11: 2,
    12: 3,
    13: 4,
    17: 5,
    19: 6,
    20: 7,
    21: 8,
    22: 9,
    23: 10,
    24: 11,
    25: 12,
    26: 13,
    27: 14,
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}

SYNTHIA_ID_TO_TRAIN_ID: dict[int, int] = {
    3: 0,
    4: 1,
    2: 2,
    21: 3,
    5: 4,
    7: 5,
    15: 6,
    9: 7,
    6: 8,
    16: 9,
    1: 10,
    10: 11,
    17: 12,
    8: 13,
    18: 14,
    19: 15,
    20: 16,
    12: 17,
    11: 18,
}

TRAIN_ID_TO_CITYSCAPES_ID: dict[int, int] = {
    train_id: label_id for label_id, train_id in CITYSCAPES_ID_TO_TRAIN_ID.items()
}

# Colors of the Cityscapes label ids 0…33 and, last, of the license plate (id -1).
CITYSCAPES_ID_PALETTE: list[list[int]] = [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
    [111, 74, 0],
    [81, 0, 81],
    [128, 64, 128],
    [244, 35, 232],
    [250, 170, 160],
    [230, 150, 140],
    [70, 70, 70],
    [102, 102, 156],
    [190, 153, 153],
    [180, 165, 180],
    [150, 100, 100],
    [150, 120, 90],
    [153, 153, 153],
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
    [0, 0, 90],
    [0, 0, 110],
    [0, 80, 100],
    [0, 0, 230],
    [119, 11, 32],
    [0, 0, 142],
]


@dataclass(frozen=True)
class LabelRule:
    """Which values the labels of a data set may hold.

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
                f"the label '{path}', got {listed}; {self.remedy}"
            )


def id_to_train_id(array: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """Translate label ids to train ids; an id that the table lacks becomes 255.

    Args:
        array: integers of any shape and type.
        table: label id -> train id, ids 0…65535.

    >>> id_to_train_id(np.array([[7, 0], [33, 40000]]), CITYSCAPES_ID_TO_TRAIN_ID).tolist()
    [[0, 255], [18, 255]]
    """
    lookup = np.full(1 << 16, IGNORE, np.uint8)
    lookup[list(table)] = list(table.values())
    inside = (array >= 0) & (array < len(lookup))
    return np.where(inside, lookup[np.where(inside, array, 0)], np.uint8(IGNORE))


def train_id_to_cityscapes_id(array: np.ndarray) -> np.ndarray:
    """Translate train ids to label ids of the Cityscapes test server; all else stays as it is.

    >>> train_id_to_cityscapes_id(np.array([[0, 18, 255]])).tolist()
    [[7, 33, 255]]
    """
    lookup = np.arange(256, dtype=np.uint8)
    lookup[list(TRAIN_ID_TO_CITYSCAPES_ID)] = list(TRAIN_ID_TO_CITYSCAPES_ID.values())
    return lookup[np.asarray(array).astype(np.uint8)]


def flat_palette(colors: list[list[int]]) -> list[int]:
    """Flatten rows of RGB to the 768 numbers of a PNG palette, zero where there is no row."""
    flat = np.zeros((256, 3), np.uint8)
    flat[: len(colors)] = colors
    return flat.reshape(-1).tolist()
