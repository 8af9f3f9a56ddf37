"""Resize by the shorter side, as Pillow does it: averaging where an image shrinks.

Legend: sizes are (width, height), as Pillow takes them; arrays are (H, W) or (H, W, 3).
"""

import cv2
import numpy as np
from PIL import Image

Size = tuple[int, int]


def size_by_short_side(size: Size, short_side: float) -> Size:
    """Return `size` with another shorter side and the same aspect ratio, each side rounded.

    >>> size_by_short_side((1914, 1052), 1440)
    (2620, 1440)
    """
    factor = short_side / min(size)
    return round(size[0] * factor), round(size[1] * factor)


def resize_smoothly(array: np.ndarray, size: Size) -> np.ndarray:
    """Resize an image (H, W, 3) bilinearly by Pillow, or depth (H, W) as OpenCV does.

    A shrinking image is averaged over the pixels that become one (anti-aliased); depth is not,
    because a mean of two depths is neither of them.
    """
    if array.ndim == 2:
        return cv2.resize(array, size, interpolation=cv2.INTER_LINEAR)
    if array.dtype == np.uint8:
        return np.array(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR))
    planes = (Image.fromarray(plane) for plane in np.moveaxis(array, -1, 0))  # Pillow has no others
    resized = (plane.resize(size, Image.Resampling.BILINEAR) for plane in planes)
    return np.stack([np.array(plane) for plane in resized], -1)


def resize_nearest(label: np.ndarray, size: Size) -> np.ndarray:
    """Resize a label map (H, W) uint8 to the nearest pixel by Pillow."""
    return np.array(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))


def with_short_side(array: np.ndarray, short_side: int) -> np.ndarray:
    """Return an image (H, W, 3) or a label map (H, W) with another shorter side."""
    old = array.shape[1], array.shape[0]
    size = size_by_short_side(old, short_side)
    if size == old:
        return array
    return resize_nearest(array, size) if array.ndim == 2 else resize_smoothly(array, size)
