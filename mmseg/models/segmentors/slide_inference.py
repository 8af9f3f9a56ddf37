"""Predict a large image window by window and average the overlaps.

Legend: N images, C classes, H×W pixels of the image, h×w pixels of a window. Boxes are
(y1, y2, x1, x2), ends exclusive.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models.layers import Box, cut, is_exporting
from mmseg.system.errors import ConfigError

Size = tuple[int, int]  # rows, columns
BATCHED, ALL, PIXELS = 2, sys.maxsize, 9 * 512 * 512  # see windows_per_call


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


def window_boxes(size: Size, crop_size: Size, stride: Size) -> list[Box]:
    """Return the boxes that cover an image of `size` (H, W), row by row, all of one size.

    A window is as large as the image along an axis where the image is smaller than `crop_size`.
    """
    (height, width), (crop_h, crop_w) = size, crop_size
    return [
        (y, min(y + crop_h, height), x, min(x + crop_w, width))
        for y in window_starts(height, crop_h, stride[0])
        for x in window_starts(width, crop_w, stride[1])
    ]


def windows_per_call(
    test_cfg: Mapping[str, Any],
    window: Sequence[int] | None = None,
    device: torch.device | None = None,
) -> int:
    """Return how many windows an evaluation sends through the network in one call.

    This is `test_cfg.window_batch_size`. Without it, `batched_slide` (which asks for all windows at
    once in other programs of the family) means two; the default is one. A GPU gets more, if their
    size `window` (h, w) is below 1024x1024: as many as nine of 512x512 have pixels. There, the host
    otherwise needs longer to queue the work than the GPU to do it.

    Evaluation must not need more memory than training with the same config. A window is as large
    as a training crop (HRDA's detail windows: as a training detail), but keeps no activations for
    gradients: two windows need 0.2 to 0.6 times the memory of a supervised step with a batch of one
    (MiT-B0 and B5, with and without HRDA), HRDA's nine on MiT-B5 a quarter of CDDA's step. The
    number depends on nothing that changes from run to run, such as free memory: logits of another
    number differ by rounding.

    An exported network has a copy of its operations for each call: without the key, there is one.
    """
    size = test_cfg.get("window_batch_size")
    if size is not None:
        return size
    if is_exporting():
        return ALL
    few = BATCHED if test_cfg.get("batched_slide") else 1
    if window is None or device is None or device.type != "cuda":
        return few
    return max(few, PIXELS // math.prod(window))


def check_windows(test_cfg: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for windows without a size, or with a stride that does not fit it."""
    if test_cfg.get("mode") != "slide":
        return
    for key in ("crop_size", "stride"):
        if test_cfg.get(key) is None:
            raise ConfigError(
                f"expected test_cfg.{key}=(rows, columns) for mode 'slide', got "
                f"{test_cfg.get(key)!r}; set it."
            )
    for crop, stride in zip(test_cfg["crop_size"], test_cfg["stride"], strict=True):
        window_starts(crop, crop, stride)  # raises if the stride does not fit


def averages_softmax(test_cfg: Mapping[str, Any]) -> bool:
    """Tell whether windows are averaged as class probabilities, instead of logits."""
    return test_cfg.get("mode") == "slide" and test_cfg.get("average") == "softmax"


def slide_logits(
    predict: Callable[[Tensor], Tensor],
    img: Tensor,
    crop_size: Size,
    stride: Size,
    window_batch_size: int | None = 1,
    output_stride: int = 1,
) -> Tensor:
    """Average the predictions of windows: (N, C, ⌈H/output_stride⌉, ⌈W/output_stride⌉) logits.

    Args:
        predict: maps windows (n, 3, h, w) to logits (n, C, ⌈h/output_stride⌉, ⌈w/output_stride⌉).
            The windows of one place in all N images follow each other.
        img: (N, 3, H, W).
        crop_size, stride, window_batch_size, output_stride: see `Windows`.
    """
    windows = Windows(img, crop_size, stride, window_batch_size, output_stride)
    return windows.average(predict(windows.cut(call)) for call in windows.calls)


class Windows:
    """The windows of N images, and in which calls of a network they are predicted.

    Args:
        img: (N, 3, H, W).
        crop_size: (h, w) of a window.
        stride: distance (rows, columns) between windows; at most `crop_size`.
        per_call: how many windows go through the network in one call, at least the N of one
            place (faster, more memory); None sends all of them at once.
        output_stride: pixels per logit along an axis; `crop_size` and `stride` are multiples of it.
    """

    def __init__(
        self,
        img: Tensor,
        crop_size: Size,
        stride: Size,
        per_call: int | None = 1,
        output_stride: int = 1,
    ) -> None:
        if any(length % output_stride for length in (*crop_size, *stride)):
            raise ConfigError(
                f"expected windows and their stride as multiples of the network's output stride "
                f"{output_stride}, got {crop_size} and {stride}; change them."
            )
        self.img, self.output_stride = img, output_stride
        self.size = (img.shape[2], img.shape[3])
        boxes = window_boxes(self.size, crop_size, stride)
        images = 1 if is_exporting() else img.shape[0]  # an exported network takes any number
        places = len(boxes) if per_call is None else max(per_call // images, 1)
        self.calls = [boxes[i : i + places] for i in range(0, len(boxes), places)]

    def cut(self, call: Sequence[Box]) -> Tensor:
        """Return the windows (n, 3, h, w) of a call."""
        windows = [cut(self.img, box) for box in call]
        return torch.cat(windows) if len(windows) > 1 else windows[0]

    def average(self, logits: Iterator[Tensor]) -> Tensor:
        """Average the logits (n, C, h', w') that come for one call after the other.

        They are added up as they come, so memory does not grow with the number of windows.
        """
        total = count = torch.empty(0)
        for call in self.calls:
            parts = next(logits).unflatten(0, (len(call), -1)).unbind()
            if not total.numel():
                rows, columns = (-(-length // self.output_stride) for length in self.size)
                total = parts[0].new_zeros(*parts[0].shape[:2], rows, columns)
                count = total.new_zeros(1, 1, rows, columns)
            for box, part in zip(call, parts, strict=True):
                place = _place(box, self.size, part, total, self.output_stride)
                total = _added(total, part, place)
                count = _added(count, part.new_ones(1, 1, *part.shape[2:]), place)
            del parts, part  # before the next call
        return total.div_(count)


def _added(total: Tensor, part: Tensor, place: tuple[slice, ...]) -> Tensor:
    """Add a part to its place in (N, C, H', W')."""
    if is_exporting():  # runtimes without torch add padded maps faster than they write into one
        edges = [n for axis in (3, 2) for n in _margins(place[axis], total.shape[axis])]
        return total + F.pad(part, edges)
    total[place] += part
    return total


def _margins(place: slice, length: int) -> tuple[int, int]:
    return place.start, length - place.stop


def _place(
    box: Box, size: Size, part: Tensor, whole: Tensor, output_stride: int
) -> tuple[slice, ...]:
    """Return where a window's logits lie; windows at the border end where the image ends."""
    place = [slice(None), slice(None)]
    for axis, (start, end) in enumerate((box[:2], box[2:])):
        length, is_last = part.shape[2 + axis], end == size[axis]
        first = whole.shape[2 + axis] - length if is_last else start // output_stride
        place.append(slice(first, first + length))
    return tuple(place)
