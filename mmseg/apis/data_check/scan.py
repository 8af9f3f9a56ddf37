"""Look at every image of a dataset once, with its label and its depth map."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmseg.apis.agreement import Size
from mmseg.apis.data_check.findings import Problem
from mmseg.apis.data_check.parts import Part
from mmseg.datasets.depth.bins import BINS, read_stored
from mmseg.datasets.depth.inspection import look_at
from mmseg.datasets.image_files import (
    picture_mode,
    picture_size,
    read_bytes,
    read_color,
    read_unchanged,
)
from mmseg.datasets.integrity import is_jpeg
from mmseg.datasets.label_formats import LabelColors, LabelIds
from mmseg.datasets.labels import IGNORE, is_labeled
from mmseg.datasets.loader import Mapped, each_item
from mmseg.datasets.pipelines.reading import LoadAnnotations, fit_label, reduce_zero
from mmseg.system.archives import has_file
from mmseg.system.errors import is_for_user

FEW = 100  # images for which no worker is worth its start
ONE_CHANNEL = ("L", "P", "1", "I", "I;16", "I;16B", "F")


@dataclass(frozen=True)
class Look:
    """What an image, its label and its depth map are like.

    Attributes:
        size: (rows, columns) of the image; None if it cannot be read.
        pixels: how many pixels of its label have each train id, of those that count; None without
            a label that can be read.
        area: how many pixels the label has.
        depth: oddities of the depth map; None without one that can be read.
        problems: what is wrong with the files.
    """

    size: Size | None
    pixels: Mapping[int, int] | None
    area: int
    depth: set[str] | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Scan:
    """A dataset and what its images are like, in their order."""

    part: Part
    looks: list[Look]

    @cached_property
    def problems(self) -> list[Problem]:
        """Everything that is wrong with single files."""
        return [problem for look in self.looks for problem in look.problems]

    @cached_property
    def pixels(self) -> Counter[int]:
        """How many pixels of all labels have each train id."""
        found: Counter[int] = Counter()
        for look in self.looks:
            found.update(look.pixels or {})
        return found

    @property
    def labeled(self) -> list[int]:
        """The indices of the images with a label that can be read."""
        return [index for index, look in enumerate(self.looks) if look.pixels is not None]


def scan(part: Part, workers: int) -> Scan:
    """Look at all images of a part, in worker processes, with a progress bar."""
    count = len(part.dataset)
    looks = each_item(Mapped(Inspector(part), range(count)), workers if count >= FEW else 0)
    return Scan(part, list(tqdm(looks, part.name, count, unit="image")))


class Inspector:
    """Looks at one image of a part, by its index."""

    def __init__(self, part: Part) -> None:
        self.part, dataset = part, part.dataset
        steps = [step for step in dataset.pipeline.steps if isinstance(step, LoadAnnotations)]
        self.reduces_zero = dataset.reduce_zero_label
        if part.is_trained_on:  # where the step decides
            self.reduces_zero = any(step.reduce_zero_label for step in steps)

    def __call__(self, index: int) -> Look:
        """Return what image `index` is like; nothing that is wrong with its files raises."""
        problems: list[Problem] = []
        size, pixels, area = self._image(index, problems), None, 0
        label = self._label(index, problems) if self.part.reads_labels else None
        if label is not None:
            self._judge(label, index, size, problems)
            pixels, area = self._count(label), label.size
        depth = self._depth(index, size, problems)
        return Look(size, pixels, area, depth, tuple(problems))

    def _image(self, index: int, problems: list[Problem]) -> Size | None:
        path = self.part.image_file(index)
        image = _tried(lambda: read_color(path), path, lambda: "image-unreadable", problems)
        return None if image is None else image.shape[:2]

    def _label(self, index: int, problems: list[Problem]) -> np.ndarray | None:
        """Return the train ids of a label as training reads them, or what is wrong with them."""
        dataset, path = self.part.dataset, self.part.label_file(index)
        if not has_file(path):
            image = self.part.image_file(index)
            said = f"expected a label for every image, got none for '{image}': no file '{path}'. "
            remedy = dataset.remedy("labels")
            problems.append(Problem("image-without-label", str(image), said + remedy))
            return None
        reader = dataset.label_format.read
        label = _tried(lambda: reader(path), path, lambda: _label_kind(path, reader), problems)
        if label is None:
            return None
        label, rule = reduce_zero(label) if self.reduces_zero else label, dataset.label_rule
        if rule is not None:
            _tried(lambda: rule.check(label, path), path, lambda: "id-out-of-range", problems)
        return label

    def _judge(
        self, label: np.ndarray, index: int, size: Size | None, problems: list[Problem]
    ) -> None:
        """Note a label of another size than its image, and one that nothing is learned from."""
        path, image = self.part.label_file(index), self.part.image_file(index)
        if size is not None:
            kind = "label-of-another-size"
            _tried(lambda: fit_label(label, size, path, image), path, lambda: kind, problems)
        ignored = self.part.dataset.ignore_index
        if self.part.needs_labels and not is_labeled(label, ignored):
            said = f"expected pixels of a class in the label '{path}', got ignored ones alone. "
            advice = "Check whether it is the right file, or remove the image."
            problems.append(Problem("label-all-ignored", str(path), said + advice))

    def _count(self, label: np.ndarray) -> dict[int, int]:
        """Return the pixels of each class; those of ids that no class has do not count."""
        dataset = self.part.dataset
        counts = np.bincount(label.ravel(), minlength=IGNORE + 1)[: len(dataset.CLASSES) or IGNORE]
        pixels = enumerate(counts.tolist())
        return {c: n for c, n in pixels if n > 0 and c != dataset.ignore_index}

    def _depth(self, index: int, size: Size | None, problems: list[Problem]) -> set[str] | None:
        path, image = self.part.depth_file(index), self.part.image_file(index)
        if path is None:
            return None
        command = self.part.dataset.depth_command
        if not has_file(path):
            said = f"expected a depth map for every image, got none for '{image}': no file '{path}'"
            remedy = f". Make them with: {command} (docs/depth_maps.md), or set dep_dir=None to "
            remedy += "train without depth (CDDA needs it)."
            problems.append(Problem("depth-missing", str(image), said + remedy))
        size = size or picture_size(image)
        if size is None or not has_file(path):
            return None
        stored = _tried(
            lambda: read_stored(path, image, size, command),
            path,
            lambda: _depth_kind(path),
            problems,
        )
        return None if stored is None else look_at(stored)


def _tried(
    read: Callable[[], Any], path: Path, kind: Callable[[], str], problems: list[Problem]
) -> Any:
    """Return what `read` returns; if it raises an error of a file, note that, and return None."""
    try:
        return read()
    except (OSError, ValueError) as error:
        if not is_for_user(error):
            raise
        problems.append(Problem(kind(), str(path), str(error)))
        return None


def _label_kind(path: Path, reader: Any) -> str:
    """Return the kind of problem with a label that its reader refuses."""
    reader = getattr(reader, "read", reader)  # of other classes
    try:
        if is_jpeg(read_bytes(path, "a label")):
            return "label-is-jpeg"
        read_unchanged(path)
    except (OSError, ValueError):
        return "label-unreadable"
    if isinstance(reader, LabelColors):
        return "color-of-no-class"
    if picture_mode(path) not in ONE_CHANNEL:
        return "label-in-colors"
    return "id-out-of-range" if isinstance(reader, LabelIds) else "label-of-another-kind"


def _depth_kind(path: Path) -> str:
    """Return the kind of problem with a depth map that its reader refuses."""
    try:
        stored = read_unchanged(path)
    except (OSError, ValueError):
        return "depth-unreadable"
    if stored.ndim != 2:
        return "depth-in-colors"
    return "depth-of-another-size" if stored.dtype.type in BINS else "depth-of-another-kind"


def good_indices(found: Scan) -> Iterator[int]:
    """Yield the indices of the images without any problem."""
    yield from (index for index, look in enumerate(found.looks) if not look.problems)
