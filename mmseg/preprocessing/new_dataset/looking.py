"""Look at the pictures of a domain: their sizes, and the ids or colors of its labels."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mmseg.datasets.image_files import (
    picture_mode,
    picture_size,
    read_bytes,
    read_color,
    read_label,
    read_unchanged,
)
from mmseg.datasets.labels import IGNORE
from mmseg.preprocessing.new_dataset.finding import Domain, spread
from mmseg.system.errors import ConfigError
from mmseg.system.waiting import beat

MOST_LABELS, MOST_IMAGES = 300, 1000  # that are looked at
Size = tuple[int, int]  # (width, height)
Kind = Literal["ids", "colors"]


@dataclass
class LabelLook:
    """What labels hold; a color is `red << 16 | green << 8 | blue`."""

    kind: Kind
    count: int = 0  # labels that were looked at
    area: int = 0  # pixels of the largest one
    pixels: Counter[int] = field(default_factory=Counter)  # of each value
    most: dict[int, int] = field(default_factory=dict)  # pixels of each value in one label
    palette: Mapping[int, list[int]] = field(default_factory=dict)  # color of each id

    @property
    def values(self) -> list[int]:
        """All values, sorted."""
        return sorted(self.pixels)

    def share(self, value: int) -> float:
        """Return the share of the pixels that have a value."""
        return self.pixels[value] / max(sum(self.pixels.values()), 1)


def rgb(code: int) -> list[int]:
    """Return a color as red, green and blue.

    >>> rgb(0x4682B4)
    [70, 130, 180]
    """
    return [code >> 16, code >> 8 & 255, code & 255]


def code_of(color: "list[int] | tuple[int, ...]") -> int:
    """Return the number of a color."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


def image_sizes(domain: Domain) -> Counter[Size]:
    """Return how many images have which size; of many images, some are looked at."""
    sizes: Counter[Size] = Counter()
    for name in spread(domain.names, MOST_IMAGES):
        path = domain.image_dir / name
        height, width = picture_size(path) or read_color(path).shape[:2]
        sizes[width, height] += 1
    return sizes


def look_at_labels(domain: Domain) -> LabelLook:
    """Return what the labels of a domain hold; `ConfigError` if they are of two kinds."""
    found: LabelLook | None = None
    for name in spread(domain.names, MOST_LABELS):
        path = domain.label_of(name)
        beat(f"looking at {path}")
        kind, values = _values(path)
        if found is None:
            found = LabelLook(kind, palette=_palette(path))
        if kind != found.kind:
            raise ConfigError(
                f"expected all labels of '{domain.root}' to hold {found.kind}, got {kind} in "
                f"'{path}'. Keep labels of one kind in a folder."
            )
        _add(found, values)
    assert found is not None
    return found


def _values(path: Path) -> tuple[Kind, np.ndarray]:
    """Return whether a label holds ids or colors, and these, (H, W) of integers."""
    stored = read_unchanged(path, lossless=True)
    if stored.dtype not in (np.uint8, np.uint16):
        raise ConfigError(
            f"expected ids or colors of 8 or 16 bits in the label '{path}', got {stored.dtype}. "
            "Save the labels as PNG."
        )
    if stored.ndim == 2 and stored.dtype == np.uint16:
        return "ids", stored
    if stored.ndim == 2 or picture_mode(path) in ("P", "L", "1"):
        return "ids", read_label(path)
    if stored.dtype != np.uint8:
        raise ConfigError(
            f"expected colors of 8 bits in the label '{path}', got {stored.dtype} in "
            f"{stored.shape[2]} channels. Save the ids alone, or write a dataset type "
            "(docs/own_data.md)."
        )
    blue, green, red = (stored[..., n].astype(np.int64) for n in range(3))
    return "colors", red << 16 | green << 8 | blue


def _add(found: LabelLook, values: np.ndarray) -> None:
    found.count += 1
    found.area = max(found.area, values.size)
    if found.kind == "ids":
        counts = np.bincount(values.ravel())
        known = np.flatnonzero(counts)
        counts = counts[known]
    else:
        known, counts = np.unique(values, return_counts=True)
    for value, number in zip(known.tolist(), counts.tolist(), strict=True):
        found.pixels[value] += number
        found.most[value] = max(found.most.get(value, 0), number)


def _palette(path: Path) -> dict[int, list[int]]:
    """Return the colors that a palette PNG has for its ids."""
    if picture_mode(path) != "P":
        return {}
    with Image.open(io.BytesIO(read_bytes(path, "a label PNG"))) as image:
        colors = image.getpalette() or []
    rows = [colors[at : at + 3] for at in range(0, len(colors) - 2, 3)]
    return {number: row for number, row in enumerate(rows) if number != IGNORE}
