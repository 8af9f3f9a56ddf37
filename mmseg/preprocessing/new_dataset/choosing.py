"""Choose the classes, scales, crop and sampling of a dataset by what its pictures are like."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmseg.datasets.class_table import ClassTable, read_class_table
from mmseg.datasets.labels import IGNORE, distinct_colors
from mmseg.preprocessing.new_dataset.finding import Domain
from mmseg.preprocessing.new_dataset.looking import LabelLook, Size, code_of, rgb
from mmseg.system.errors import ConfigError

BLACK = 0
MOST_CLASSES = 255
WIDEST = 1280  # longest side of an image in training; GTA's as published
CROPS = (512, 384, 256, 192, 128, 96, 64, 32)
STEP = 32  # the coarsest features are this much smaller than the image
# As published for GTA, whose labels have this many pixels.
PUBLISHED_PIXELS, PUBLISHED_AREA = 3000, 1914 * 1052
PUBLISHED_TEMPERATURE, FEW_CLASSES = 0.01, 5
MOST_CROPS = 24966  # as published
BINARY = {0, IGNORE}  # ids of masks that are black and white


@dataclass(frozen=True)
class Classes:
    """The classes, and what the labels of the source and of `val` have beside them."""

    entries: tuple[Mapping[str, Any], ...]
    file: str | None  # the table that a person gave
    hints: tuple[str, ...] = ()  # comments on the table

    @property
    def table(self) -> ClassTable:
        """The classes as datasets read them."""
        return read_class_table([dict(entry) for entry in self.entries])


@dataclass(frozen=True)
class Choices:
    """The numbers of a config."""

    source_scale: Size
    target_scale: Size
    crop: int
    min_pixels: int
    class_temp: float
    num_crops: int  # of the bank


def choose_classes(look: LabelLook, file: str | None) -> Classes:
    """Return the classes: those of a table, or each value of the labels that counts."""
    if file is not None:
        entries = tuple(_entry(one) for one in read_class_table(file).entries)
        return Classes(entries, file)
    values, hints = [v for v in look.values if not _is_ignored(look, v)], []
    if not 0 < len(values) <= MOST_CLASSES:
        raise ConfigError(
            f"expected 1 to {MOST_CLASSES} {look.kind} in the labels, got {len(values)} in "
            f"{look.count} labels. Describe the classes with --classes FILE (docs/own_data.md)."
        )
    hints.append(
        "The names are placeholders: rename them, here alone. The order is that of the train ids, "
        "which predictions have."
    )
    if look.kind == "ids" and {*look.values} == BINARY:
        hints.append("The labels are black and white masks: 255 is a class here.")
    elif look.kind == "ids" and 0 in values:
        hints.append("If id 0 means `nothing`, remove it here and add it to ignored_ids.")
    if look.kind == "colors" and BLACK in look.values:
        is_class = "a class, as there is one other color alone" if BLACK in values else "ignored"
        hints.append(f"Black is {is_class}.")
    return Classes(tuple(_entries(look, values)), None, tuple(hints))


def _is_ignored(look: LabelLook, value: int) -> bool:
    """Tell whether a value counts as `nothing`: 255 or black, unless it is one of two values."""
    if look.kind == "ids":
        return value == IGNORE and {*look.values} != BINARY
    return value == BLACK and len(look.values) != 2


def _entries(look: LabelLook, values: list[int]) -> list[dict[str, Any]]:
    if look.kind == "colors":
        return [{"name": f"class {n}", "color": rgb(v)} for n, v in enumerate(values)]
    colors = [list(look.palette.get(value, ())) for value in values]
    if len({tuple(color) for color in colors}) < len(colors) or not all(colors):
        colors = distinct_colors(len(values))
    named = zip(values, colors, strict=True)
    return [{"name": f"class {n}", "id": v, "color": c} for n, (v, c) in enumerate(named)]


def _entry(one: Any) -> dict[str, Any]:
    values = {"name": one.name, "id": one.id, "color": one.color}
    plain = {k: list(v) if isinstance(v, list | tuple) else v for k, v in values.items()}
    return {key: value for key, value in plain.items() if value is not None}


def train_ids(classes: Classes, look: LabelLook) -> dict[int, int]:
    """Return the train id of each value of labels; `ConfigError` if classes lack a color."""
    table = classes.table
    if look.kind == "ids":
        return table.train_ids
    if table.colors is None:
        raise ConfigError(
            f"expected a color for each class in {classes.file or 'the classes'}, because labels "
            "hold colors, got classes without one. Add the colors, or use one kind of labels."
        )
    return {code_of(color): number for number, color in enumerate(table.colors)}


def unknown_values(classes: Classes, look: LabelLook) -> list[int]:
    """Return the values of labels that belong to no class and are not ignored anyway."""
    known = train_ids(classes, look)
    usual = IGNORE if look.kind == "ids" else BLACK
    return [value for value in look.values if value not in known and value != usual]


def absent_classes(classes: Classes, look: LabelLook) -> list[str]:
    """Return the names of the classes of which the labels have no pixel."""
    known = train_ids(classes, look)
    seen = {known[value] for value in look.values if value in known}
    return [name for number, name in enumerate(classes.table.names) if number not in seen]


def choose(
    classes: Classes,
    look: LabelLook,
    source: Domain,
    source_sizes: Counter[Size],
    target_sizes: Counter[Size],
) -> Choices:
    """Return the numbers that suit the pictures; `ConfigError` if no pixel has a class."""
    scales = [fitting(usual_size(sizes)) for sizes in (source_sizes, target_sizes)]
    shortest = min(side for scale in scales for side in scale)
    known = train_ids(classes, look)
    most: dict[int, int] = {}
    for value, number in look.most.items():
        if value in known:
            most[known[value]] = max(most.get(known[value], 0), number)
    if not most:
        raise ConfigError(
            f"expected labels of '{source.root}' with pixels of a class, got none in {look.count} "
            "labels. Correct the table of classes."
        )
    scaled = round(PUBLISHED_PIXELS * look.area / PUBLISHED_AREA)
    is_small = len(classes.entries) < FEW_CLASSES
    return Choices(
        source_scale=scales[0],
        target_scale=scales[1],
        crop=next((crop for crop in CROPS if crop <= shortest), STEP),
        min_pixels=max(min(scaled, min(most.values()) // 2), 0),
        class_temp=PUBLISHED_TEMPERATURE * (10 if is_small else 1),
        num_crops=min(len(source.names), MOST_CROPS),
    )


def usual_size(sizes: Counter[Size]) -> Size:
    """Return the most frequent size, the larger one of equally frequent ones."""
    return max(sizes, key=lambda size: (sizes[size], size))


def fitting(size: Size) -> Size:
    """Return the size of training: that of the files unless it is very large.

    >>> fitting((96, 64)), fitting((2048, 1024)), fitting((1914, 1052))
    ((96, 64), (1280, 640), (1280, 704))
    """
    width, height = size
    factor = WIDEST / max(size)
    return size if factor >= 1 else (round(width * factor), round(height * factor))
