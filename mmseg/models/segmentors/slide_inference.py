"""Predict a large image window by window and average the overlaps.

Legend: N images, C classes, H×W pixels of the image, h×w pixels of a window. Boxes are
(y1, y2, x1, x2), ends exclusive.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg.system.errors import ConfigError

Box = tuple[int, int, int, int]
BATCHED = 2  # see windows_per_call


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


def windows_per_call(test_cfg: Mapping[str, Any]) -> int:
    """Return how many windows an evaluation sends through the network in one call.

    `test_cfg.window_batch_size` says it; without it, `batched_slide` (which asks for all windows at
    once in other programs of the family) stands for two, and nothing for one.

    Evaluation must not need more memory than training with the same config. A window is as large
    as a training crop (HRDA's detail windows: as a training detail), but keeps no activations for
    gradients: two need 0.2 to 0.6 times the memory of a supervised step with a batch of one (MiT-B0
    and B5, with and without HRDA; the share is largest for small backbones under wide heads).
    Four can already need as much, all of an image several times that.
    A larger number is faster on a GPU; the logits are the same up to rounding.

    Raises:
        ConfigError: for a size that is no positive integer.
    """
    size = test_cfg.get("window_batch_size")
    if size is None:
        return BATCHED if test_cfg.get("batched_slide") else 1
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(
            f"expected test_cfg.window_batch_size as a positive integer, got {size!r}; "
            "1 needs the least memory."
        )
    return size


def slide_logits(
    predict: Callable[[Tensor], Tensor],
    img: Tensor,
    crop_size: tuple[int, int],
    stride: tuple[int, int],
    window_batch_size: int | None = 1,
    output_stride: int = 1,
) -> Tensor:
    """Average the predictions of overlapping windows.

    Predictions are added up as they come, so that memory does not grow with the number of windows.

    Args:
        predict: maps windows (n, 3, h, w) to logits (n, C, ⌈h/output_stride⌉, ⌈w/output_stride⌉).
            The windows of one place in all N images follow each other.
        img: (N, 3, H, W).
        crop_size: (h, w) of a window.
        stride: distance (rows, columns) between windows; at most `crop_size`.
        window_batch_size: how many windows go through `predict` in one call, at least the N of one
            place (faster, more memory); None sends all of them at once.
        output_stride: pixels per logit along an axis; `crop_size` and `stride` are multiples of it.

    Returns:
        (N, C, ⌈H/output_stride⌉, ⌈W/output_stride⌉) logits.
    """
    _check_grid((*crop_size, *stride), output_stride)
    boxes = window_boxes((img.shape[2], img.shape[3]), crop_size, stride)
    places = len(boxes)
    if window_batch_size is not None:
        places = max(window_batch_size // img.shape[0], 1)
    average = _Average((img.shape[2], img.shape[3]), output_stride)
    for first in range(0, len(boxes), places):
        _add_windows(average, predict, img, boxes[first : first + places])
    return average.result()


class _Average:
    """Sums up windows in an image of (H, W) pixels and counts how many lie on each place."""

    def __init__(self, size: tuple[int, int], output_stride: int) -> None:
        self.output_stride = output_stride
        self.rows, self.columns = (-(-length // output_stride) for length in size)
        self.size = size
        self.total: Tensor | None = None
        self.count: Tensor | None = None

    def add(self, box: Box, logits: Tensor) -> None:
        """Add the (N, C, h', w') logits of a box."""
        if self.total is None or self.count is None:
            self.total = logits.new_zeros(*logits.shape[:2], self.rows, self.columns)
            self.count = logits.new_zeros(1, 1, self.rows, self.columns)
        rows = self._place(box[0], box[1] == self.size[0], logits.shape[2], self.rows)
        columns = self._place(box[2], box[3] == self.size[1], logits.shape[3], self.columns)
        self.total[:, :, rows, columns] += logits
        self.count[:, :, rows, columns] += 1

    def result(self) -> Tensor:
        """Return the averages."""
        assert self.total is not None  # there is always at least one window
        assert self.count is not None
        return self.total.div_(self.count)

    def _place(self, start: int, is_last: bool, length: int, available: int) -> slice:
        """Return where logits lie along an axis: windows at the border end where the image ends."""
        first = available - length if is_last else start // self.output_stride
        return slice(first, first + length)


def _add_windows(
    average: _Average, predict: Callable[[Tensor], Tensor], img: Tensor, boxes: Sequence[Box]
) -> None:
    """Predict the windows of some boxes in one call; their logits are freed at its end."""
    windows = [img[:, :, y1:y2, x1:x2] for y1, y2, x1, x2 in boxes]
    logits = predict(torch.cat(windows) if len(windows) > 1 else windows[0])
    for box, part in zip(boxes, logits.split(img.shape[0]), strict=True):
        average.add(box, part)


def _check_grid(lengths: Sequence[int], output_stride: int) -> None:
    """Raise if windows would lie between the places of the logits."""
    if any(length % output_stride for length in lengths):
        raise ConfigError(
            f"expected windows and their stride as multiples of the network's output stride "
            f"{output_stride}, got (rows, columns, rows, columns) = {tuple(lengths)}; change them."
        )
