"""Label maps as pictures: colored, as palette PNG, or laid over their image.

Pictures are (H, W, 3) uint8 RGB, label maps (H, W) integers; ignored pixels are black.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmseg.datasets.image_files import write_label
from mmseg.datasets.labels import PALETTE
from mmseg.system.files import atomic_write


def colorize(label: np.ndarray, palette: Sequence[Sequence[int]] = PALETTE) -> np.ndarray:
    """Return the RGB picture of a label map; what has no row in the palette is black.

    >>> colorize(np.array([[0, 255]])).tolist()
    [[[128, 64, 128], [0, 0, 0]]]
    """
    lookup = np.zeros((256, 3), np.uint8)
    lookup[: len(palette)] = palette
    return lookup[np.asarray(label).clip(-1, 255).astype(np.uint8)]


def heat(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Return an RGB picture of numbers between `low` (dark blue) and `high` (yellow)."""
    scaled = (np.asarray(values, np.float32) - low) / max(high - low, 1e-12)
    gray = np.rint(np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def blend(image: np.ndarray, label: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Lay the colored label over its RGB image; `opacity` 0 is the image, 1 the label."""
    if image.shape[:2] != label.shape:
        raise ValueError(
            f"expected a label of the image's size {image.shape[:2]}, got {label.shape}; "
            "resize one of them."
        )
    mixed = (1 - opacity) * image.astype(np.float32) + opacity * colorize(label)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def paint(
    path: str | Path, label: np.ndarray, image: np.ndarray | None = None, opacity: float = 1.0
) -> None:
    """Write a prediction as PNG: palette PNG of train ids, or blended with its RGB image.

    Args:
        path: file to write.
        label: (H, W) train ids.
        image: (H, W, 3) RGB, needed when `opacity` is below 1.
        opacity: 1 writes the palette PNG, from which the train ids can be read back.
    """
    if opacity >= 1 or image is None:
        write_label(path, label.astype(np.uint8), PALETTE)
    else:
        save_picture(path, blend(image, label, opacity))


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write an RGB picture as PNG."""
    done, data = cv2.imencode(".png", picture[..., ::-1])
    if not done:
        raise ValueError(f"expected an (H, W, 3) uint8 picture, got {picture.shape}.")
    with atomic_write(path) as file:
        file.write(data.tobytes())
