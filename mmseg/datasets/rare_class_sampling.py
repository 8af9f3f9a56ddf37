"""Draw source images in a way that shows rare classes often.

Legend: f_c is the share of class c among all annotated source pixels, T the temperature;
P(c) = softmax((1 - f_c) / T). A class is drawn, then an image with enough pixels of it, then crops
of the image until one holds enough of them and, if asked for, other classes beside it.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mmseg.config.values import Count, Index, NonNegative, Positive
from mmseg.datasets.class_statistics import ClassStatistics, class_pixels
from mmseg.datasets.custom import Sample
from mmseg.datasets.joint import parts_of
from mmseg.datasets.labels import is_varied


def class_probabilities(
    statistics: list[dict[str, Any]], temperature: float
) -> tuple[list[int], np.ndarray]:
    """Return the classes, from rare to frequent, and P(c) of each as float32.

    `statistics` holds `{train id: pixels, …, "file": path}` per image.

    >>> class_probabilities([{"0": 3, "file": "a"}, {"4": 1, "file": "b"}], 1.0)[0]
    [4, 0]
    """
    pixels = class_pixels(statistics)
    classes = sorted(pixels, key=lambda c: pixels[c])
    counts = np.array([pixels[c] for c in classes], np.float32)
    scores = (1 - counts / counts.sum(dtype=np.float32)) / np.float32(temperature)
    weights = np.exp(scores - scores.max())
    return classes, weights / weights.sum(dtype=np.float32)


class RareClassSampling:
    """Draw samples of `source` by rare class.

    Args:
        source: a labeled dataset with class statistics (`ClassStatistics`), or several as one.
        min_pixels: an image counts as holding a class when it has more pixels of it.
        class_temp: temperature T.
        min_crop_ratio: a crop must hold more than this many times `min_pixels` of the class; 0
            does not test that.
        cat_max_ratio: its most frequent class must take less than this share of the labeled
            pixels, and there must be a second one; 1 does not test that.
        tries: how many crops are tested. If all fail, one more is used as it is.
    """

    def __init__(
        self,
        source: Any,
        min_pixels: Index,
        class_temp: Positive,
        min_crop_ratio: NonNegative,
        cat_max_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0,
        tries: Count = 10,
    ) -> None:
        self.source = source
        self.min_pixels, self.min_crop_ratio = min_pixels, min_crop_ratio
        self.cat_max_ratio, self.tries = cat_max_ratio, tries
        statistics = [ClassStatistics(part) for part in parts_of(source)]
        self.warnings = [line for found in statistics for line in found.warnings]
        weights = getattr(source, "weights", None)
        entries = _weighted([found.entries for found in statistics], weights)
        self.classes, self.probabilities = class_probabilities(entries, class_temp)
        self._cumulative = np.cumsum(self.probabilities, dtype=np.float64)
        self.candidates = self._find_candidates(statistics)
        self._odds = {} if weights is None else self._find_odds(weights)

    def sample(self, rng: np.random.Generator) -> Sample:
        """Draw a class, an image that holds it and a crop that holds it."""
        chosen = self.draw_class(rng)
        sampler = self.source.sampler(self.draw_image(chosen, rng))
        return sampler.accepted(partial(self.accepts, chosen=chosen), self.tries, rng)

    def accepts(self, label: Any, chosen: int) -> bool:
        """Tell whether the label of a crop has enough of the class `chosen` and is mixed enough."""
        if self.min_crop_ratio > 0:
            pixels = int(np.count_nonzero(np.asarray(label) == chosen))
            if pixels <= self.min_pixels * self.min_crop_ratio:
                return False
        ratio, ignored = self.cat_max_ratio, self.source.ignore_index
        return ratio == 1 or is_varied(label, ratio, ignored)

    def draw_class(self, rng: np.random.Generator) -> int:
        """Draw a class with its probability."""
        position = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], "right")
        return self.classes[min(int(position), len(self.classes) - 1)]

    def draw_image(self, chosen: int, rng: np.random.Generator) -> int:
        """Draw one of the images that hold a class; of several datasets by their weights."""
        candidates = self.candidates[chosen]
        if not self._odds:
            return candidates[int(rng.integers(len(candidates)))]
        return candidates[int(rng.choice(len(candidates), p=self._odds[chosen]))]

    def _find_candidates(self, statistics: Sequence[ClassStatistics]) -> dict[int, list[int]]:
        """Return, per class, the indices of the images with more than `min_pixels` of it."""
        starts = getattr(self.source, "starts", [0])
        candidates: dict[int, list[int]] = {}
        for chosen in self.classes:
            pixels, absent, candidates[chosen] = [], [], []
            for start, found in zip(starts, statistics, strict=False):
                index, listed = found.image_of, found.by_class.get(str(chosen), [])
                entries = [(start + index[file], n) for file, n in listed if file in index]
                candidates[chosen] += [i for i, n in entries if n > self.min_pixels]
                pixels += [n for _, n in entries]
                absent += [file for file, _ in listed if file not in index]
            if not candidates[chosen]:
                self._refuse(chosen, pixels, absent)
        return candidates

    def _find_odds(self, weights: np.ndarray) -> dict[int, np.ndarray]:
        """Return, per class, how probable each candidate is: datasets by weight, images equally."""
        odds = {}
        for chosen, candidates in self.candidates.items():
            numbers = np.array([self.source.number_of(index) for index in candidates])
            counts = np.bincount(numbers, minlength=len(weights))
            each = weights[numbers] / counts[numbers]
            odds[chosen] = each / each.sum()
        return odds

    def _refuse(self, chosen: int, pixels: list[int], absent: Collection[str]) -> None:
        """Raise for a class of which no image holds enough.

        `pixels` are those in each listed image, `absent` the listed labels without an image.
        """
        source = parts_of(self.source)[0]
        expected = (
            f"expected an image of '{source.img_dir}' with more than {self.min_pixels} pixels "
            f"of class {chosen}, got none"
        )
        remedy = source.remedy("statistics")
        if pixels or not absent:
            raise ValueError(
                f"{expected} among the {len(pixels)} that the class statistics list (at most "
                f"{max(pixels, default=0)} pixels). Lower rare_class_sampling.min_pixels. {remedy}"
            )
        # The converter counts labels: statistics made again from all would be the same.
        place = source.split or source.img_dir
        raise ValueError(
            f"{expected}: the class statistics list {len(absent)} labels that hold it, such as "
            f"'{min(absent)}', and all of their images are missing in '{place}'. Put these images "
            f"back, or move their labels to another folder first. {remedy}"
        )


def _weighted(
    parts: Sequence[list[dict[str, Any]]], weights: np.ndarray | None
) -> list[dict[str, Any]]:
    """Return the statistics of several datasets as one; with weights, each has its share of pixels.

    >>> _weighted([[{"0": 4, "file": "a"}], [{"1": 2, "file": "b"}]], np.array([0.5, 0.5]))
    [{'0': 3.0, 'file': 'a'}, {'1': 3.0, 'file': 'b'}]
    """
    if weights is None:
        return [entry for part in parts for entry in part]
    totals = [sum(class_pixels(part).values()) for part in parts]
    factors = [
        float(w) * sum(totals) / t if t else 0.0 for w, t in zip(weights, totals, strict=True)
    ]
    return [
        {key: value if key == "file" else value * factor for key, value in entry.items()}
        for part, factor in zip(parts, factors, strict=True)
        for entry in part
    ]
