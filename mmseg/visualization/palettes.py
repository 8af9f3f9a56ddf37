"""Label maps as pictures: colored, as palette PNGs, or laid over their image.

Pictures are (H, W, 3) uint8 RGB, label maps (H, W) integers; ignored pixels are black.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmseg.datasets.image_files import encode_png, write_label
from mmseg.datasets.labels import PALETTE
from mmseg.system.files import atomic_write

Colors = Sequence[Sequence[int]]  # rows of RGB, one for each train id


def colorize(label: np.ndarray, palette: Colors | None = None) -> np.ndarray:
    """Return the RGB picture of a label map; values without a row in the palette are black.

    None is the palette of street scenes.

    >>> colorize(np.array([[0, 255]])).tolist()
    [[[128, 64, 128], [0, 0, 0]]]
    """
    palette, lookup = palette or PALETTE, np.zeros((256, 3), np.uint8)
    lookup[: len(palette)] = palette
    return lookup[np.asarray(label).clip(-1, 255).astype(np.uint8)]


def heat(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Return an RGB picture of numbers between `low` (dark blue) and `high` (yellow)."""
    scaled = (np.asarray(values, np.float32) - low) / max(high - low, 1e-12)
    gray = np.rint(np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def blend(
    image: np.ndarray, label: np.ndarray, opacity: float = 0.5, palette: Colors = PALETTE
) -> np.ndarray:
    """Lay the colored label over its RGB image; `opacity` 0 is the image, 1 the label."""
    if image.shape[:2] != label.shape:
        raise ValueError(
            f"expected a label of the image's size {image.shape[:2]}, got {label.shape}. "
            "Resize one of them."
        )
    mixed = (1 - opacity) * image.astype(np.float32) + opacity * colorize(label, palette)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def paint(
    path: str | Path,
    label: np.ndarray,
    image: np.ndarray | None = None,
    opacity: float = 1.0,
    palette: Colors = PALETTE,
) -> None:
    """Write train ids (H, W) as a PNG: with a palette, or blended with their RGB image.

    At `opacity` 1 or without an image, it is a palette PNG, from which the ids can be read back.
    """
    if opacity >= 1 or image is None:
        write_label(path, label.astype(np.uint8), [list(color) for color in palette])
    else:
        save_picture(path, blend(image, label, opacity, palette))


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write an RGB picture as PNG."""
    data = encode_png(picture[..., ::-1])
    with atomic_write(path) as file:
        file.write(data)
