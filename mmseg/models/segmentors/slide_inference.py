"""Predict a large image window by window and average the overlaps.

Legend: N images, C classes, H×W pixels of the image, h×w pixels of a window. Boxes are
(y1, y2, x1, x2), ends exclusive.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmseg.registry import ConfigError

Box = tuple[int, int, int, int]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return where the windows along one axis start; the last one is shifted to end at the border.

    >>> window_starts(length=10, window=4, stride=3)
    [0, 3, 6]
    >>> window_starts(length=11, window=4, stride=3)
    [0, 3, 6, 7]
    >>> window_starts(length=3, window=4, stride=3)
    [0]
    """
    if not 0 < stride <= window:
        raise ConfigError(
            f"expected a slide stride between 1 and the crop size {window}, got {stride}; "
            "with another stride some pixels would never be predicted."
        )
    margin = max(length - window, 0)
    steps = -(-margin // stride)  # rounded up
    return [min(i * stride, margin) for i in range(steps + 1)]


def window_boxes(
    size: tuple[int, int], crop_size: tuple[int, int], stride: tuple[int, int]
) -> list[Box]:
    """Return the boxes that cover an image of `size` (H, W), row by row, all of one size.

    A window is as large as the image along an axis where the image is smaller than `crop_size`.
    """
    (height, width), (crop_h, crop_w) = size, crop_size
    return [
        (y, min(y + crop_h, height), x, min(x + crop_w, width))
        for y in window_starts(height, crop_h, stride[0])
        for x in window_starts(width, crop_w, stride[1])
    ]


def slide_logits(
    predict: Callable[[Tensor], Tensor],
    img: Tensor,
    crop_size: tuple[int, int],
    stride: tuple[int, int],
    batched: bool = False,
) -> Tensor:
    """Average the predictions of overlapping windows.

    Args:
        predict: maps windows (n, 3, h, w) to logits (n, C, h, w).
        img: (N, 3, H, W).
        crop_size: (h, w) of a window.
        stride: distance (rows, columns) between windows; at most `crop_size`.
        batched: send all windows through `predict` in one call (faster, more memory).

    Returns:
        (N, C, H, W) logits.
    """
    boxes = window_boxes((img.shape[2], img.shape[3]), crop_size, stride)
    windows = [img[:, :, y1:y2, x1:x2] for y1, y2, x1, x2 in boxes]
    if batched:
        predictions = predict(torch.cat(windows)).split(img.shape[0])
    else:
        predictions = (predict(window) for window in windows)
    total: Tensor | None = None
    count = img.new_zeros(1, 1, *img.shape[2:])
    for (y1, y2, x1, x2), logits in zip(boxes, predictions, strict=True):
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], *img.shape[2:])
        total[:, :, y1:y2, x1:x2] += logits
        count[:, :, y1:y2, x1:x2] += 1
    assert total is not None  # there is always at least one window
    return total / count
