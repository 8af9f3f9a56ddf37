"""Draw source images in a way that shows rare classes often.

Legend: f_c is the share of class c among all annotated source pixels, T the temperature;
P(c) = softmax((1 - f_c) / T). A class is drawn, then an image with enough pixels of it, then crops
of the image until one holds enough of them.
"""

from collections.abc import Collection
from typing import Any

import numpy as np

from mmseg.config.values import Index, NonNegative, Positive
from mmseg.datasets.class_statistics import ClassStatistics, class_pixels
from mmseg.datasets.custom import CustomDataset, Sample

MAX_TRIES = 10  # further crops of an image


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
        statistics = ClassStatistics(source)
        self.warnings = statistics.warnings
        self.classes, self.probabilities = class_probabilities(statistics.entries, class_temp)
        self._cumulative = np.cumsum(self.probabilities, dtype=np.float64)
        self.candidates = self._find_candidates(statistics)

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

    def _find_candidates(self, statistics: ClassStatistics) -> dict[int, list[int]]:
        """Return, per class, the indices of the images with more than `min_pixels` of it."""
        candidates, index = {}, statistics.image_of
        for chosen in self.classes:
            listed = statistics.by_class.get(str(chosen), [])
            entries = [(index[file], n) for file, n in listed if file in index]
            candidates[chosen] = [i for i, n in entries if n > self.min_pixels]
            if not candidates[chosen]:
                absent = [file for file, _ in listed if file not in index]
                self._refuse(chosen, [n for _, n in entries], absent)
        return candidates

    def _refuse(self, chosen: int, pixels: list[int], absent: Collection[str]) -> None:
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
