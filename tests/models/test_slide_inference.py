"""Sliding windows: the grid, and averages against a slow loop over pixels."""

import math
import weakref

import models_cfg
import pytest
import torch
from network_records import EQUAL, filled, normal

from mmseg.models import build_segmentor
from mmseg.models.segmentors.slide_inference import slide_logits, window_boxes, windows_per_call
from mmseg.system.errors import ConfigError

CASES = [  # image size, crop size, stride
    ((10, 14), (4, 6), (3, 5)),
    ((11, 7), (4, 4), (4, 2)),  # last row shifted inside
    ((5, 20), (8, 6), (8, 6)),  # lower than a window
    ((3, 4), (8, 6), (2, 3)),  # smaller than a window
    ((8, 6), (8, 6), (1, 1)),  # exactly one window
]

SLIDE = {"mode": "slide", "crop_size": (32, 48), "stride": (24, 32)}


def predict(window):
    """Two classes whose score depends on the place *within* the window."""
    ramp = torch.arange(window.shape[2] * window.shape[3]).view(window.shape[2:])
    return torch.stack([window.sum(1) + ramp, window.prod(1) - ramp], dim=1)


def slow_average(image, crop_size, stride):
    """Sum and count pixel by pixel, as one would explain it."""
    height, width = image.shape[2:]
    crop_h, crop_w = min(crop_size[0], height), min(crop_size[1], width)
    total, count = image.new_zeros(image.shape[0], 2, height, width), torch.zeros(height, width)
    tops, lefts = [0], [0]
    while tops[-1] + crop_h < height:
        tops.append(min(tops[-1] + stride[0], height - crop_h))
    while lefts[-1] + crop_w < width:
        lefts.append(min(lefts[-1] + stride[1], width - crop_w))
    for top in tops:
        for left in lefts:
            out = predict(image[:, :, top : top + crop_h, left : left + crop_w])
            for y in range(crop_h):
                for x in range(crop_w):
                    total[:, :, top + y, left + x] += out[:, :, y, x]
                    count[top + y, left + x] += 1
    assert count.min() > 0
    return total / count


@pytest.mark.parametrize("at_once", [1, 2, 5, 7, None])
@pytest.mark.parametrize(("size", "crop_size", "stride"), CASES)
def test_overlaps_are_averaged_as_in_a_slow_loop(size, crop_size, stride, at_once):
    image = normal("image", 2, 3, *size)
    result = slide_logits(predict, image, crop_size, stride, at_once)
    expected = slow_average(image, crop_size, stride)
    torch.testing.assert_close(result, expected, **EQUAL)


@pytest.mark.parametrize("at_once", [1, 3, None])
@pytest.mark.parametrize("size", [(24, 36), (23, 29), (25, 34), (13, 11), (7, 30), (5, 6), (12, 8)])
def test_coarse_logits_are_averaged_as_in_a_slow_loop(size, at_once):
    """A network with output stride 4; windows of 12x8 pixels, so 3x2 logits, every 8x4 pixels."""
    image = normal("image", 2, 3, *size)
    result = slide_logits(predict_coarse, image, (12, 8), (8, 4), at_once, output_stride=4)
    torch.testing.assert_close(result, slow_coarse_average(image), **EQUAL)


def predict_coarse(window):
    """Every fourth value of `predict`, rounded up: 13 pixels have 4 logits."""
    return predict(window)[:, :, ::4, ::4]


def slow_coarse_average(image):
    """A window that ends with the image has its last logit where the image has its last one."""
    height, width = image.shape[2:]
    rows, columns = math.ceil(height / 4), math.ceil(width / 4)
    total, count = image.new_zeros(image.shape[0], 2, rows, columns), torch.zeros(rows, columns)
    for y1, y2, x1, x2 in window_boxes((height, width), (12, 8), (8, 4)):
        out = predict_coarse(image[:, :, y1:y2, x1:x2])
        for row in range(out.shape[2]):
            for column in range(out.shape[3]):
                y = rows - out.shape[2] + row if y2 == height else y1 // 4 + row
                x = columns - out.shape[3] + column if x2 == width else x1 // 4 + column
                total[:, :, y, x] += out[:, :, row, column]
                count[y, x] += 1
    assert count.min() > 0
    return total / count


def test_a_pointwise_network_predicts_the_same_with_and_without_windows():
    image = normal("image", 2, 3, 13, 9)
    result = slide_logits(lambda x: x[:, :2] * 3, image, (5, 4), (2, 3))
    torch.testing.assert_close(result, image[:, :2] * 3, **EQUAL)


def test_the_grid_by_hand():
    """Rows start at 0, 3 and, shifted inside, 5; columns at 0 and 2; row by row."""
    boxes = window_boxes((9, 8), (4, 6), (3, 4))
    tops = [(0, 4), (3, 7), (5, 9)]
    assert boxes == [(*rows, *columns) for rows in tops for columns in [(0, 6), (2, 8)]]


@pytest.mark.parametrize(
    ("at_once", "sizes"),
    [(1, [2] * 6), (2, [2] * 6), (5, [4] * 3), (8, [8, 4]), (12, [12]), (99, [12]), (None, [12])],
)
def test_no_more_windows_go_through_than_allowed_in_the_order_of_the_grid(at_once, sizes):
    """Two images of six places each; the two windows of one place stay together."""
    calls = []

    def remember(window):
        calls.append(window)
        return window

    image = normal("image", 2, 3, 9, 8)
    slide_logits(remember, image, (4, 6), (3, 4), at_once)
    assert [len(call) for call in calls] == sizes
    expected = [image[:, :, a:b, c:d] for a, b, c, d in window_boxes((9, 8), (4, 6), (3, 4))]
    assert torch.equal(torch.cat(calls), torch.cat(expected))


def test_predictions_are_freed_as_soon_as_they_are_added():
    """However many windows there are, the logits of one call are alive at a time."""
    alive = weakref.WeakSet()
    most = 0

    def remember(window):
        nonlocal most
        most = max(most, len(alive))
        logits = window.clone()
        alive.add(logits)
        return logits

    slide_logits(remember, normal("image", 1, 3, 40, 30), (4, 6), (2, 3), window_batch_size=2)
    assert most == 0
    assert not alive


def test_batched_and_unbatched_windows_of_a_real_network_agree():
    network = filled(build_segmentor(models_cfg.daformer(test_cfg=SLIDE))).eval()
    image, metas = normal("image", 1, 3, 70, 101), [{"ori_shape": (70, 101, 3)}]
    found = {}
    for at_once in (1, 4, 100):
        network.test_cfg = {**SLIDE, "window_batch_size": at_once}
        with torch.no_grad():
            found[at_once] = network.slide_inference(image, metas, rescale=False)
    for at_once in (4, 100):
        torch.testing.assert_close(found[at_once], found[1], **EQUAL)


def test_the_image_stays_unchanged_and_gradients_flow():
    image = normal("image", 1, 3, 6, 7).requires_grad_()
    before = image.detach().clone()
    slide_logits(lambda x: x * 2, image, (4, 4), (2, 2)).sum().backward()
    assert torch.equal(image.detach(), before)
    torch.testing.assert_close(image.grad, torch.full_like(image, 2))


@pytest.mark.parametrize("stride", [(5, 2), (2, 7), (0, 2), (-1, 2)])
def test_a_stride_that_skips_pixels_is_an_error(stride):
    with pytest.raises(ConfigError, match="expected a slide stride between 1 and the crop size"):
        window_boxes((20, 20), (4, 6), stride)


def test_windows_between_two_logits_are_an_error():
    image = normal("image", 1, 3, 20, 20)
    with pytest.raises(ConfigError, match=r"multiples of the network's output stride 4, got .*10"):
        slide_logits(predict_coarse, image, (12, 8), (10, 4), output_stride=4)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, 1), ({"batched_slide": True}, 2), ({"batched_slide": False}, 1)],
)
def test_few_windows_go_through_at_once_unless_the_config_says_otherwise(chosen, expected):
    assert windows_per_call({"mode": "whole", **chosen}) == expected
    assert windows_per_call({**chosen, "window_batch_size": None}) == expected
    assert windows_per_call({**chosen, "window_batch_size": 3}) == 3


@pytest.mark.parametrize("size", [0, -2, 1.5, "4", True])
def test_a_number_of_windows_that_is_none_is_an_error(size):
    words = "window_batch_size of test_cfg: expected a .*number.*, got "
    with pytest.raises(ConfigError, match=words):
        build_segmentor(models_cfg.daformer(test_cfg={**SLIDE, "window_batch_size": size}))
