"""Sliding windows: the grid, and averages against a slow loop over pixels."""

import pytest
import torch
from network_records import normal

from mmseg.models.segmentors.slide_inference import slide_logits, window_boxes
from mmseg.registry import ConfigError

CASES = [  # image size, crop size, stride
    ((10, 14), (4, 6), (3, 5)),
    ((11, 7), (4, 4), (4, 2)),  # last row shifted inside
    ((5, 20), (8, 6), (8, 6)),  # lower than a window
    ((3, 4), (8, 6), (2, 3)),  # smaller than a window
    ((8, 6), (8, 6), (1, 1)),  # exactly one window
]


def predict(window):
    """Two classes whose score depends on the place *within* the window."""
    ramp = torch.arange(window.shape[2] * window.shape[3]).view(window.shape[2:]).float()
    return torch.stack([window.sum(1) + ramp, window.prod(1) - ramp], dim=1)


def slow_average(image, crop_size, stride):
    """Sum and count pixel by pixel, as one would explain it."""
    height, width = image.shape[2:]
    crop_h, crop_w = min(crop_size[0], height), min(crop_size[1], width)
    total, count = torch.zeros(image.shape[0], 2, height, width), torch.zeros(height, width)
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


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(("size", "crop_size", "stride"), CASES)
def test_overlaps_are_averaged_as_in_a_slow_loop(size, crop_size, stride, batched):
    image = normal("image", 2, 3, *size)
    result = slide_logits(predict, image, crop_size, stride, batched)
    expected = slow_average(image, crop_size, stride)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_a_pointwise_network_predicts_the_same_with_and_without_windows():
    image = normal("image", 2, 3, 13, 9)
    result = slide_logits(lambda x: x[:, :2] * 3, image, (5, 4), (2, 3))
    torch.testing.assert_close(result, image[:, :2] * 3)


def test_the_grid_by_hand():
    """Rows start at 0, 3 and, shifted inside, 5; columns at 0 and 2; row by row."""
    boxes = window_boxes((9, 8), (4, 6), (3, 4))
    tops = [(0, 4), (3, 7), (5, 9)]
    assert boxes == [(*rows, *columns) for rows in tops for columns in [(0, 6), (2, 8)]]


def test_batched_windows_go_through_in_one_call_in_the_order_of_the_grid():
    calls = []

    def remember(window):
        calls.append(window.shape)
        return window

    slide_logits(remember, normal("image", 2, 3, 9, 8), (4, 6), (3, 4), batched=True)
    assert calls == [(12, 3, 4, 6)]


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
