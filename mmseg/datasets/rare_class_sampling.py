"""Draw source images in a way that shows rare classes often.

Legend: f_c is the share of class c among all annotated source pixels, T the temperature;
P(c) = softmax((1 - f_c) / T). A class is drawn, then an image with enough pixels of it, then crops
of the image until one holds enough of them.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Set
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmseg.config.values import Index, NonNegative, Positive
from mmseg.datasets.custom import CustomDataset, Sample

STATISTICS_FILE = "sample_class_stats.json"
IMAGES_FILE = "samples_with_class.json"
MAX_TRIES = 10  # further crops of an image


def class_probabilities(
    statistics: list[dict[str, Any]], temperature: float
) -> tuple[list[int], np.ndarray]:
    """Return the classes, from rare to frequent, and P(c) of each as float32.

    `statistics` holds `{train id: pixels, …, "file": path}` per image.

    >>> class_probabilities([{"0": 3, "file": "a"}, {"4": 1, "file": "b"}], 1.0)[0]
    [4, 0]
    """
    pixels: dict[int, int] = defaultdict(int)
    for key, count in (item for entry in statistics for item in entry.items()):
        if key != "file":
            pixels[int(key)] += count
    classes = sorted(pixels, key=lambda c: pixels[c])
    counts = np.array([pixels[c] for c in classes], np.float32)
    scores = (1 - counts / counts.sum(dtype=np.float32)) / np.float32(temperature)
    weights = np.exp(scores - scores.max())
    return classes, weights / weights.sum(dtype=np.float32)


class RareClassSampling:
    """Draw samples of `source` by rare class.

    Args:
        source: a labeled dataset whose converter wrote its class statistics into `data_root`.
        min_pixels: an image counts as holding a class when it has more pixels of it.
        class_temp: temperature T.
        min_crop_ratio: a crop must hold more than this many times `min_pixels` of the class; the
            tenth further crop is used as it is. 0 tests nothing.
    """

    def __init__(
        self,
        source: CustomDataset,
        min_pixels: Index,
        class_temp: Positive,
        min_crop_ratio: NonNegative,
    ) -> None:
        self.source = source
        self.min_pixels, self.min_crop_ratio = min_pixels, min_crop_ratio
        statistics = _load(source, STATISTICS_FILE, _is_statistics)
        self.classes, self.probabilities = class_probabilities(statistics, class_temp)
        self._cumulative = np.cumsum(self.probabilities, dtype=np.float64)
        self.candidates = self._find_candidates(_load(source, IMAGES_FILE, _is_index))

    def sample(self, rng: np.random.Generator) -> Sample:
        """Draw a class, an image that holds it and a crop that holds it."""
        chosen = self.draw_class(rng)
        candidates = self.candidates[chosen]
        draw = self.source.sampler(candidates[int(rng.integers(len(candidates)))])
        sample = draw(rng)
        for _ in range(MAX_TRIES if self.min_crop_ratio > 0 else 0):
            pixels = int((sample["gt_semantic_seg"] == chosen).sum())
            if pixels > self.min_pixels * self.min_crop_ratio:
                break
            sample = draw(rng)
        return sample

    def draw_class(self, rng: np.random.Generator) -> int:
        """Draw a class with its probability."""
        position = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], "right")
        return self.classes[min(int(position), len(self.classes) - 1)]

    def _find_candidates(self, images: dict[str, list]) -> dict[int, list[int]]:
        """Return, per class, the indices of the images with more than `min_pixels` of it."""
        infos = enumerate(self.source.img_infos)
        index = {PurePosixPath(info["ann"]["seg_map"]).name: i for i, info in infos}
        self._check_files(index, images)
        candidates = {}
        for chosen in self.classes:
            named = [(PurePosixPath(file).name, n) for file, n in images.get(str(chosen), [])]
            entries = [(index[name], n) for name, n in named if name in index]
            candidates[chosen] = [i for i, n in entries if n > self.min_pixels]
            if not candidates[chosen]:
                self._refuse(chosen, [n for _, n in entries], dict(named).keys() - index.keys())
        return candidates

    def _refuse(self, chosen: int, pixels: list[int], absent: Set[str]) -> None:
        """Raise for a class of which no image holds enough.

        `pixels` are those in each listed image, `absent` the listed labels without an image.
        """
        expected = (
            f"expected an image of '{self.source.img_dir}' with more than {self.min_pixels} pixels "
            f"of class {chosen}, got none"
        )
        remedy = self.source.remedy("statistics")
        if pixels or not absent:
            raise ValueError(
                f"{expected} among the {len(pixels)} that the class statistics list (at most "
                f"{max(pixels, default=0)} pixels). Lower rare_class_sampling.min_pixels. {remedy}"
            )
        # The converter counts labels: statistics made again from all would be the same.
        place = self.source.split or self.source.img_dir
        raise ValueError(
            f"{expected}: the class statistics list {len(absent)} labels that hold it, such as "
            f"'{min(absent)}', and all of their images are missing in '{place}'. Put these images "
            f"back, or move their labels to another folder first. {remedy}"
        )

    def _check_files(self, index: dict[str, int], images: dict[str, list]) -> None:
        """Raise if the statistics list none of the images, or classes that do not exist."""
        listed = {PurePosixPath(file).name for entries in images.values() for file, _ in entries}
        remedy = self.source.remedy("statistics")
        path, rule = Path(self.source.data_root or ".", IMAGES_FILE), self.source.label_rule
        if index.keys().isdisjoint(listed):
            raise ValueError(
                f"expected the class statistics at '{path}' to list labels of this dataset, such "
                f"as '{next(iter(index))}', got other files only, such as "
                f"'{next(iter(listed), None)}'. {remedy}"
            )
        unknown = [c for c in self.classes if rule is not None and c >= rule.num_classes]
        if rule is not None and unknown:
            raise ValueError(
                f"expected the classes 0…{rule.num_classes - 1} in the class statistics beside "
                f"'{path}', got class {unknown[0]}. {remedy}"
            )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _is_statistics(content: Any) -> bool:
    """Tell whether this is `[{train id: pixels, …, "file": path}, …]`."""
    return isinstance(content, list) and all(
        isinstance(entry, dict)
        and all(k == "file" or (k.isdecimal() and _is_count(n)) for k, n in entry.items())
        for entry in content
    )


def _is_index(content: Any) -> bool:
    """Tell whether this is `{train id: [[path, pixels], …], …}`."""
    return isinstance(content, dict) and all(
        key.isdecimal()
        and isinstance(entries, list)
        and all(isinstance(e, list) and len(e) == 2 and _is_count(e[1]) for e in entries)
        for key, entries in content.items()
    )


def _load(source: CustomDataset, name: str, is_right: Callable[[Any], bool]) -> Any:
    path, remedy = Path(source.data_root or ".", name), source.remedy("statistics")
    expected = f"expected the class statistics for rare class sampling at '{path}'"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{expected}, got no such file. {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{expected}, got a broken file ({error}). {remedy}") from error
    if not content:
        raise ValueError(f"{expected}, got an empty list. {remedy}")
    if not is_right(content):
        raise ValueError(f"{expected}, got JSON that no converter wrote. {remedy}")
    return content
