"""Steps that move pixels: image, labels and depth always move together.

Legend: sizes of the config's `img_scale` are (width, height), all others (height, width).
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import Field

from mmseg.config.registry import PIPELINES
from mmseg.config.values import Count, Label, Pair, Positive, Share
from mmseg.datasets.depth.bins import PAD_BIN
from mmseg.datasets.labels import IGNORE, is_varied
from mmseg.datasets.pipelines.fields import (
    Direction,
    Results,
    Scales,
    as_pair,
    as_scales,
    map_fields,
    random_generator,
    shape_of,
)
from mmseg.datasets.pipelines.resizing import resize_nearest, resize_smoothly, size_by_short_side

MAX_TRIES = 10  # further windows of `RandomCrop`


@PIPELINES.register()
class Resize:
    """Resize image and depth bilinearly and the labels to the nearest pixel.

    Args:
        img_scale: (width, height), or a list of them. With `keep_ratio` the image becomes as large
            as fits into it, whichever of its sides is longer.
        multiscale_mode: with several scales, `range` draws each side between the extremes and
            `value` draws one of them.
        ratio_range: (low, high); the scale (without `img_scale` and `short_side`, the image's own
            size) is multiplied by a number drawn from it.
        keep_ratio: keep the aspect ratio.
        short_side: how long the shorter side becomes, instead of `img_scale`. Images are resized by
            Pillow then, which averages where they shrink; OpenCV does not.

    A `scale` already in the results (set by `MultiScaleFlipAug`) is used instead.
    """

    def __init__(
        self,
        img_scale: Scales | None = None,
        multiscale_mode: Literal["range", "value"] = "range",
        ratio_range: Annotated[Sequence[Positive], Field(min_length=2, max_length=2)] | None = None,
        keep_ratio: bool = True,
        short_side: Count | None = None,
    ) -> None:
        if short_side is not None and (img_scale is not None or not keep_ratio):
            raise ValueError(
                "expected short_side of Resize without img_scale and with keep_ratio=True, got "
                f"img_scale={img_scale}, keep_ratio={keep_ratio}. Drop short_side or the others."
            )
        self.short_side = short_side
        self.scales = None if img_scale is None else as_scales(img_scale)
        if ratio_range is not None and self.scales is not None and len(self.scales) != 1:
            raise ValueError(
                f"expected one img_scale with ratio_range, got {self.scales}. Drop one of them."
            )
        self.multiscale_mode, self.ratio_range = multiscale_mode, ratio_range
        self.keep_ratio = keep_ratio

    @property
    def is_random(self) -> bool:
        """Whether the size is drawn."""
        return self.ratio_range is not None or (self.scales is not None and len(self.scales) > 1)

    def __call__(self, results: Results) -> Results:
        """Return the sample at its new size."""
        height, width = shape_of(results)[:2]
        scale, index = results.get("scale"), results.get("scale_idx")
        if scale is None and self.short_side is not None:
            side = self.short_side * self._draw_ratio(results)
            scale = size = size_by_short_side((width, height), side)
        else:
            if scale is None:
                scale, index = self._draw_scale(results, (width, height))
            size = self.new_size((width, height), scale)
        factor = np.array([size[0] / width, size[1] / height] * 2, np.float32)
        smooth = partial(cv2.resize, dsize=size, interpolation=cv2.INTER_LINEAR)
        nearest = partial(cv2.resize, dsize=size, interpolation=cv2.INTER_NEAREST)
        if self.short_side is not None:
            smooth, nearest = (
                partial(resize_smoothly, size=size),
                partial(resize_nearest, size=size),
            )
        if size != (width, height):
            results = map_fields(results, smooth, label=nearest)
        shapes = dict.fromkeys(("img_shape", "pad_shape"), shape_of(results))
        drawn = {"scale": scale, "scale_idx": index, "scale_factor": factor}
        return {**results, **shapes, **drawn, "keep_ratio": self.keep_ratio}

    def new_size(self, size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
        """Return (width, height) of an image of `size` (width, height) after resizing to `scale`.

        >>> Resize().new_size((1914, 1052), (1280, 720))
        (1280, 704)
        """
        if not self.keep_ratio:
            return scale
        factor = min(max(scale) / max(size), min(scale) / min(size))
        return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)

    def _draw_ratio(self, results: Results) -> float:
        if self.ratio_range is None:
            return 1.0
        low, high = self.ratio_range
        return random_generator(results).random() * (high - low) + low

    def _draw_scale(
        self, results: Results, own_size: tuple[int, int]
    ) -> tuple[tuple[int, int], int | None]:
        """Return the scale and, where it is one of the list, its place there."""
        if self.ratio_range is not None:
            ratio = self._draw_ratio(results)
            base = own_size if self.scales is None else self.scales[0]
            return (int(base[0] * ratio), int(base[1] * ratio)), None
        if not self.scales:
            raise ValueError(
                "expected img_scale, short_side or ratio_range in Resize, got none. Set one."
            )
        if len(self.scales) == 1:
            return self.scales[0], 0
        rng = random_generator(results)
        if self.multiscale_mode == "value":
            index = int(rng.integers(len(self.scales)))
            return self.scales[index], index
        short, long = zip(*map(sorted, self.scales), strict=True)
        long_side = int(rng.integers(min(long), max(long) + 1))
        return (long_side, int(rng.integers(min(short), max(short) + 1))), None


@PIPELINES.register()
class RandomCrop:
    """Cut out a window; an image smaller than it stays as it is.

    Args:
        crop_size: (height, width) of the window.
        cat_max_ratio: draw again, up to ten times, until the most frequent class takes less than
            this share of the labeled pixels and a second class is present. The last window is used
            untested; 1 tests nothing. It needs labels.
        ignore_index: label of pixels that do not count.
    """

    is_random = True

    def __init__(
        self,
        crop_size: Pair,
        cat_max_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0,
        ignore_index: Label = IGNORE,
    ) -> None:
        self.crop_size = as_pair(crop_size)
        self.cat_max_ratio, self.ignore_index = cat_max_ratio, ignore_index

    def __call__(self, results: Results) -> Results:
        """Return the sample cut to the drawn window."""
        if self.cat_max_ratio < 1 and "gt_semantic_seg" not in results:
            raise ValueError(
                f"expected a label at RandomCrop with cat_max_ratio={self.cat_max_ratio}, which "
                f"tests it, got none for '{results.get('filename')}'. Put LoadAnnotations before "
                "it, or leave cat_max_ratio out."
            )
        rng, (height, width) = random_generator(results), shape_of(results)[:2]
        window = self._draw_window((height, width), rng)
        limits = self.cat_max_ratio, self.ignore_index
        for _ in range(MAX_TRIES if self.cat_max_ratio < 1 else 0):
            if is_varied(results["gt_semantic_seg"][window], *limits):
                break
            window = self._draw_window((height, width), rng)
        cropped = map_fields(results, lambda array: array[window])
        return {**cropped, "img_shape": shape_of(cropped)}

    def _draw_window(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
        """Draw the window in an image of `size` (height, width): first y, then x."""
        height, width = self.crop_size
        y = int(rng.integers(0, max(size[0] - height, 0) + 1))
        x = int(rng.integers(0, max(size[1] - width, 0) + 1))
        return slice(y, y + height), slice(x, x + width)


@PIPELINES.register()
class RandomFlip:
    """Mirror with probability `prob`; a `flip` already in the results decides instead."""

    is_random = True

    def __init__(self, prob: Share | None = None, direction: Direction = "horizontal") -> None:
        self.prob, self.direction = prob, direction

    def __call__(self, results: Results) -> Results:
        """Return the sample, mirrored or not."""
        flip = results.get("flip")
        if flip is None:
            if self.prob is None:
                raise ValueError("expected RandomFlip with prob, got none. Set it (0 = never).")
            flip = bool(random_generator(results).random() < self.prob)
        direction = results.get("flip_direction", self.direction)
        results = {**results, "flip": flip, "flip_direction": direction}
        axis = 1 if direction == "horizontal" else 0
        return map_fields(results, partial(_mirror, axis=axis)) if flip else results


def _mirror(array: np.ndarray, axis: int) -> np.ndarray:
    """Return (H, W) or (H, W, channels) mirrored: up and down along axis 0, else left and right."""
    is_usual = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if is_usual and array.dtype.type in (np.uint8, np.float32) and array.size:
        return cv2.flip(array, axis)  # many times faster
    return np.flip(array, axis).copy()


@PIPELINES.register()
class Pad:
    """Pad at the bottom and on the right to `size` or to multiples of `size_divisor`.

    The image is padded with `pad_val`, labels with `seg_pad_val`, depth with 255 and
    `valid_pseudo_mask` with 0 (padding is never trusted).
    """

    is_random = False

    def __init__(
        self,
        size: Pair | None = None,
        size_divisor: Count | None = None,
        pad_val: float = 0,
        seg_pad_val: Label = IGNORE,
    ) -> None:
        if (size is None) == (size_divisor is None):
            raise ValueError(f"expected either size or size_divisor, got {size}, {size_divisor}.")
        self.size = None if size is None else as_pair(size)
        self.size_divisor = size_divisor
        self.pad_val, self.seg_pad_val = pad_val, seg_pad_val

    def __call__(self, results: Results) -> Results:
        """Return the padded sample."""
        size = self._padded_size(*shape_of(results)[:2])
        values = dict.fromkeys(results.get("img_fields", ["img"]), self.pad_val)
        values |= dict.fromkeys(results.get("seg_fields", []), self.seg_pad_val)
        values |= {"valid_pseudo_mask": 0, "depth": PAD_BIN}
        padded = {k: _pad(results[k], size, value) for k, value in values.items() if k in results}
        chosen = {"pad_fixed_size": self.size, "pad_size_divisor": self.size_divisor}
        padded = {**results, **padded}
        return {**padded, "pad_shape": shape_of(padded), **chosen}

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        if self.size is not None:
            return max(self.size[0], height), max(self.size[1], width)
        divisor = self.size_divisor or 1
        return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def _pad(array: np.ndarray, size: tuple[int, int], value: float) -> np.ndarray:
    bottom, right = max(size[0] - array.shape[0], 0), max(size[1] - array.shape[1], 0)
    if bottom == 0 and right == 0:
        return array
    widths = [(0, bottom), (0, right)] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, widths, constant_values=value)
