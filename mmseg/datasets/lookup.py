"""Tables of 256 entries, one for each 8-bit value: what a pixel becomes, and how many there are."""

import cv2
import numpy as np

LARGEST_FLOAT_COUNT = 1 << 24  # up to it, float32 holds every integer


def look_up(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return `table[values]`, for a table (256,) and uint8 values of any shape, in less time.

    >>> look_up(np.arange(256, dtype=np.float32) / 2, np.array([[0, 3, 255]], np.uint8)).tolist()
    [[0.0, 1.5, 127.5]]
    """
    is_picture = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if not is_picture or values.size == 0:  # OpenCV would change other shapes
        return table[values]
    return cv2.LUT(values, table)


def pixel_counts(label: np.ndarray) -> np.ndarray:
    """Return how often each value 0…255 occurs in integers of any shape, as 256 numbers or more.

    >>> pixel_counts(np.array([[2, 0, 2]], np.uint8))[:4].tolist()
    [1, 0, 2, 0]
    """
    if label.dtype != np.uint8 or label.ndim != 2 or label.size > LARGEST_FLOAT_COUNT:
        return np.bincount(label.ravel(), minlength=256)
    return cv2.calcHist([label], [0], None, [256], [0, 256]).ravel().astype(np.int64)
