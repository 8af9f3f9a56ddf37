"""Steps that change colors and leave every pixel in its place."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmseg.config.registry import PIPELINES
from mmseg.datasets.pipelines.fields import Results, random_generator

# What a network sees where nothing else is stated: ImageNet's RGB mean and standard deviation.
IMAGENET: dict[str, Any] = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


@PIPELINES.register()
class Normalize:
    """Make the image (x - mean) / std in float32, with the channels in the order of `mean`.

    Args:
        mean: three means in 0…255.
        std: three standard deviations.
        to_rgb: turn BGR into RGB first; `mean` and `std` are then those of RGB.
    """

    is_random = False

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_rgb: bool = True) -> None:
        self.mean = np.array(mean, np.float32)
        self.std = np.array(std, np.float32)
        self.to_rgb = to_rgb

    def __call__(self, results: Results) -> Results:
        """Return the sample with its image normalized."""
        normalized = {k: self._normalize(results[k]) for k in results.get("img_fields", ["img"])}
        used = {"mean": self.mean, "std": self.std, "to_rgb": self.to_rgb}
        return {**results, **normalized, "img_norm_cfg": used}

    def _normalize(self, image: np.ndarray) -> np.ndarray:
        image = image.astype(np.float32)
        if self.to_rgb:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        # In this order and precision (float32 pixels, float64 constants) as the recorded values.
        image = cv2.subtract(image, self.mean.astype(np.float64)[None])
        return cv2.multiply(image, 1 / self.std.astype(np.float64)[None])


@PIPELINES.register()
class PhotoMetricDistortion:
    """Distort brightness, contrast, saturation and hue of an 8-bit BGR image.

    Each of the four has probability one half; a coin decides whether contrast comes before or after
    saturation and hue.

    Args:
        brightness_delta: largest shift up or down.
        contrast_range: factor of the pixel values.
        saturation_range: factor of the saturation.
        hue_delta: largest shift of the hue, in OpenCV's 180 steps (the upper end is excluded).
    """

    is_random = True

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = _range(contrast_range, "contrast_range")
        self.saturation_range = _range(saturation_range, "saturation_range")
        self.hue_delta = hue_delta

    def __call__(self, results: Results) -> Results:
        """Return the sample with its image distorted."""
        rng = random_generator(results)
        image = results["img"]
        if _coin(rng):
            shift = rng.uniform(-self.brightness_delta, self.brightness_delta)
            image = _scale_and_shift(image, 1, shift)
        is_contrast_first = _coin(rng)
        if is_contrast_first:
            image = self._contrast(image, rng)
        image = self._saturation(image, rng)
        image = self._hue(image, rng)
        if not is_contrast_first:
            image = self._contrast(image, rng)
        return {**results, "img": image}

    def _contrast(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not _coin(rng):
            return image
        return _scale_and_shift(image, _uniform(rng, self.contrast_range), 0)

    def _saturation(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not _coin(rng):
            return image
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[..., 1] = _scale_and_shift(hsv[..., 1], _uniform(rng, self.saturation_range), 0)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)

    def _hue(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not _coin(rng):
            return image
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        shift = int(rng.integers(-self.hue_delta, self.hue_delta))
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + shift) % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _range(value: Sequence[float], name: str) -> tuple[float, float]:
    if len(value) != 2:
        raise ValueError(f"expected {name} as (low, high), got {value!r}.")
    return value[0], value[1]


def _uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return rng.uniform(limits[0], limits[1])


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.integers(2))


def _scale_and_shift(image: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Return scale * image + shift, clipped to 0…255, as uint8."""
    return np.clip(image.astype(np.float32) * scale + shift, 0, 255).astype(np.uint8)
