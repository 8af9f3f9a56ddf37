"""Steps that change colors but move no pixel."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from pydantic import Field

from mmseg.config.registry import PIPELINES
from mmseg.config.values import NonNegative, Positive
from mmseg.datasets.lookup import look_up
from mmseg.datasets.pipelines.fields import ArrayMap, Results, random_generator

# ImageNet's RGB mean and standard deviation, the default input normalization.
IMAGENET: dict[str, Any] = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}

Range = Annotated[Sequence[NonNegative], Field(min_length=2, max_length=2)]


@PIPELINES.register()
class Normalize:
    """Turn the image x into (x - mean) / std in float32, channels in the order of `mean`.

    The three means and standard deviations are of values in 0…255. `to_rgb` turns BGR into RGB
    first; they are then in RGB order.
    """

    is_random = False

    def __init__(
        self,
        mean: Annotated[Sequence[float], Field(min_length=3, max_length=3)],
        std: Annotated[Sequence[Positive], Field(min_length=3, max_length=3)],
        to_rgb: bool = True,
    ) -> None:
        self.mean = np.array(mean, np.float32)
        self.std = np.array(std, np.float32)
        self.to_rgb = to_rgb

    def __call__(self, results: Results) -> Results:
        """Return the sample with its image normalized."""
        normalized = {k: self._normalize(results[k]) for k in results.get("img_fields", ["img"])}
        used = {"mean": self.mean, "std": self.std, "to_rgb": self.to_rgb}
        return {**results, **normalized, "img_norm_cfg": used}

    def _normalize(self, image: np.ndarray) -> np.ndarray:
        return self._look_up(image) if image.dtype == np.uint8 else self._compute(image)

    def _look_up(self, image: np.ndarray) -> np.ndarray:
        """Normalize 8-bit pixels into planes, the layout of tensors; the result is a view of them.

        What `_compute` makes of a value depends on nothing else.
        """
        planes = np.empty((3, *image.shape[:2]), np.float32)
        channels = cv2.split(image)[:: -1 if self.to_rgb else 1]
        for place, channel in enumerate(channels):
            planes[place] = look_up(self._tables[place], channel)
        return planes.transpose(1, 2, 0)

    @cached_property
    def _tables(self) -> np.ndarray:
        """What each 8-bit value becomes in each channel, (3, 256) float32."""
        values = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2)  # (256, 1, 3)
        return np.ascontiguousarray(self._compute(values)[:, 0].T)

    def _compute(self, image: np.ndarray) -> np.ndarray:
        image = image.astype(np.float32)
        if self.to_rgb:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        # The recorded values need this order and precision: float32 pixels, float64 constants.
        image = cv2.subtract(image, self.mean.astype(np.float64)[None])
        return cv2.multiply(image, 1 / self.std.astype(np.float64)[None])


def denormalize(img: torch.Tensor, img_norm_cfg: Mapping[str, Any] | None) -> np.ndarray:
    """Return the (H, W, 3) uint8 BGR pixels that `Normalize` turned into `img` (3, H, W).

    Exact for unchanged training images: rounding removes the float32 error, which is far below
    half a gray level. Padding (0 after normalization) becomes the rounded mean color. Without
    `img_norm_cfg`, ImageNet's constants apply.
    """
    img_norm_cfg = img_norm_cfg or IMAGENET
    mean = np.asarray(img_norm_cfg["mean"], np.float64)
    std = np.asarray(img_norm_cfg["std"], np.float64)
    normalized = img.detach().float().cpu().numpy().transpose(1, 2, 0)  # (H, W, 3)
    pixels = np.rint(normalized * std + mean).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1] if img_norm_cfg.get("to_rgb", True) else pixels)


@PIPELINES.register()
class PhotoMetricDistortion:
    """Distort brightness, contrast, saturation and hue of an 8-bit BGR image.

    Each of the four has probability one half; a coin decides whether contrast comes before or after
    saturation and hue.

    Args:
        brightness_delta: largest shift up or down, in gray levels.
        contrast_range: (low, high) factor of the pixel values.
        saturation_range: (low, high) factor of the saturation.
        hue_delta: largest shift of the hue, in OpenCV's 180 steps (the upper end is excluded).
    """

    is_random = True

    def __init__(
        self,
        brightness_delta: NonNegative = 32,
        contrast_range: Range = (0.5, 1.5),
        saturation_range: Range = (0.5, 1.5),
        hue_delta: Annotated[int, Field(ge=1, le=180)] = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def __call__(self, results: Results) -> Results:
        """Return the sample with its image distorted."""
        changes = self._draw(random_generator(results))
        image = results.get("img")
        if image is None:
            return results
        for change in changes:
            image = change(image)
        return {**results, "img": image}

    def _draw(self, rng: np.random.Generator) -> list[ArrayMap]:
        """Draw the changes of an image, in their order."""
        changes: list[ArrayMap] = []
        if rng.integers(2):
            shift = rng.uniform(-self.brightness_delta, self.brightness_delta)
            changes.append(partial(_scale_and_shift, scale=1, shift=shift))
        kinds = [self._draw_saturation, self._draw_hue]
        kinds.insert(0 if rng.integers(2) else 2, self._draw_contrast)
        return changes + [draw(rng) for draw in kinds if rng.integers(2)]

    def _draw_contrast(self, rng: np.random.Generator) -> ArrayMap:
        low, high = self.contrast_range
        return partial(_scale_and_shift, scale=rng.uniform(low, high), shift=0)

    def _draw_saturation(self, rng: np.random.Generator) -> ArrayMap:
        low, high = self.saturation_range
        scaled = partial(_scale_and_shift, scale=rng.uniform(low, high), shift=0)
        return partial(_change_hsv, channel=1, change=scaled)

    def _draw_hue(self, rng: np.random.Generator) -> ArrayMap:
        shift = int(rng.integers(-self.hue_delta, self.hue_delta))
        return partial(_change_hsv, channel=0, change=partial(_rotate, shift=shift))


def _change_hsv(image: np.ndarray, channel: int, change: ArrayMap) -> np.ndarray:
    """Return an image (H, W, 3) BGR whose hue (channel 0) or saturation (1) is changed."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hsv[..., channel] = change(hsv[..., channel])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _rotate(hue: np.ndarray, shift: int) -> np.ndarray:
    return _each_value(hue, lambda values: (values.astype(np.int16) + shift) % 180)


def _scale_and_shift(image: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Return scale * image + shift, clipped to 0…255, as uint8."""
    return _each_value(
        image,
        lambda values: np.clip(values.astype(np.float32) * scale + shift, 0, 255).astype(np.uint8),
    )


def _each_value(pixels: np.ndarray, change: ArrayMap) -> np.ndarray:
    """Apply `change` to each value; 8-bit ones are looked up, because there are only 256."""
    if pixels.dtype != np.uint8:
        return change(pixels)
    return look_up(change(np.arange(256, dtype=np.uint8)), pixels)
