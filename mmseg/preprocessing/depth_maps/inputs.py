"""Picture -> input of a depth network, as the network's `preprocessor_config.json` describes it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
}
_RESAMPLE = {0: "nearest", 2: "linear", 3: "cubic"}  # Pillow's numbers, which the files hold
_Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputRule:
    """How a picture becomes a network's input.

    fit: how the picture is brought to `size`, before the sides become multiples.
        'cover': with its aspect ratio, so that it covers `size`; 'closest': with its aspect ratio,
        to the height or the width of `size`, whichever changes it less; 'stretch': to `size`;
        'own': not at all.
    size: (height, width); not used by 'own'.
    multiple: what both sides are multiples of.
    rounding: to the 'nearest' multiple, 'down' or 'up'; 'cover' never rounds below `size`.
    interpolation: a key of `INTERPOLATIONS`; without anti-aliasing.
    divisor: of the 8-bit values; then `mean` is subtracted and divided by `std`: red, green, blue.
    """

    fit: str = "cover"
    size: tuple[int, int] = (518, 518)
    multiple: int = 14
    rounding: str = "nearest"
    interpolation: str = "cubic"
    divisor: float = 255.0
    mean: _Triple = IMAGENET_MEAN
    std: _Triple = IMAGENET_STD

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width of the input for a picture's.

        >>> InputRule().size_for(1052, 1914), InputRule().size_for(1024, 2048)
        ((518, 938), (518, 1036))
        """
        scales = self.size[0] / height, self.size[1] / width
        if self.fit == "cover":
            scales = (max(scales),) * 2
        elif self.fit == "closest":
            scales = (min(scales, key=lambda scale: abs(1 - scale)),) * 2
        elif self.fit == "own":
            scales = (1.0, 1.0)
        least = self.size if self.fit == "cover" else (1, 1)
        return (
            self._rounded(height * scales[0], least[0]),
            self._rounded(width * scales[1], least[1]),
        )

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """Turn a picture (H, W, 3) uint8, BGR, into an input (3, h, w) float32, RGB."""
        height, width = self.size_for(*image.shape[:2])
        values = np.divide(image, np.float32(self.divisor), dtype=np.float32)
        values = cv2.resize(
            values, (width, height), interpolation=INTERPOLATIONS[self.interpolation]
        )
        result = np.empty((3, height, width), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            result[channel] = (values[..., 2 - channel] - np.float32(mean)) / np.float32(std)
        return result

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as plain values of JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def describe(self) -> str:
        """Say to a person how large the input is."""
        height, width = self.size
        box = f"{height}x{width}" if height != width else f"{height}"
        texts = {
            "cover": f"shorter side {box}"
            if height == width
            else f"covering {box} (rows x columns)",
            "closest": f"height or width {box}, with the picture's aspect ratio",
            "stretch": f"{height}x{width} (rows x columns), whatever the aspect ratio",
            "own": "the picture's own size",
        }
        multiple = f", sides multiples of {self.multiple}" if self.multiple > 1 else ""
        return f"{texts[self.fit]}{multiple}, {self.interpolation} interpolation"

    def _rounded(self, side: float, least: int) -> int:
        count = side / self.multiple
        # Scaling leaves a last digit: 36.9999999 is 37, also when it is rounded down.
        exact = round(count, 6)
        whole = {"nearest": round, "down": math.floor, "up": math.ceil}[self.rounding](exact)
        if whole * self.multiple < least:
            whole = math.ceil(least / self.multiple)
        return whole * self.multiple


def rule_of(settings: Mapping[str, Any], covers: bool = False) -> InputRule:
    """Read the content of a `preprocessor_config.json`.

    Args:
        settings: of the file.
        covers: keep the aspect ratio as Depth Anything does, so that no side is below its size.

    Raises:
        ValueError: with a sentence when a setting is missing or has no sense.
    """
    try:
        multiple, rounding = _multiple(settings)
        fit, size = _fit(settings, covers)
        mean, std = _normalization(settings)
        return InputRule(
            fit=fit,
            size=size,
            multiple=multiple,
            rounding=rounding,
            interpolation=_RESAMPLE[settings.get("resample", 3)],
            divisor=_divisor(settings),
            mean=mean,
            std=std,
        )
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"expected the settings of an image processor (size, image_mean, …), got {reason}; do "
            "copy the file again from where the model is from."
        ) from error


def _multiple(settings: Mapping[str, Any]) -> tuple[int, str]:
    """Return what the sides are multiples of, and how they are rounded."""
    divisor, pads = settings.get("size_divisor"), settings.get("do_pad")
    if divisor and pads is not False:
        # Where the image processor pads, the picture is enlarged: the map has no border to cut off.
        return int(divisor), "up" if pads else "down"
    multiple = int(settings.get("ensure_multiple_of") or 1)
    if multiple < 1:
        raise ValueError(f"ensure_multiple_of {multiple}")
    return multiple, "nearest"


def _fit(settings: Mapping[str, Any], covers: bool) -> tuple[str, tuple[int, int]]:
    """Return `fit` and `size` of the rule."""
    size = settings.get("size")
    if size is None or not settings.get("do_resize", True):
        return "own", (1, 1)
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if "shortest_edge" in size:
        size, covers = dict.fromkeys(("height", "width"), size["shortest_edge"]), True
    box = int(size["height"]), int(size["width"])
    if min(box) < 1:
        raise ValueError(f"size {box}")
    if covers:
        return "cover", box
    return "closest" if settings.get("keep_aspect_ratio") else "stretch", box


def _normalization(settings: Mapping[str, Any]) -> tuple[_Triple, _Triple]:
    """Return `mean` and `std` of the rule."""
    if not settings.get("do_normalize", "image_mean" in settings):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    (r, g, b), (red, green, blue) = settings["image_mean"], settings["image_std"]
    if not min(red, green, blue) > 0:
        raise ValueError(f"image_std {settings['image_std']}")
    return (float(r), float(g), float(b)), (float(red), float(green), float(blue))


def _divisor(settings: Mapping[str, Any]) -> float:
    """Return `divisor` of the rule: 255 also where the file holds few digits of 1 / 255."""
    if not settings.get("do_rescale", True):
        return 1.0
    return round(1 / float(settings.get("rescale_factor", 1 / 255)), 6)
