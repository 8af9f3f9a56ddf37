"""Sliding windows: the grid, and averages against a slow loop over pixels."""

import gzip
import json
import math
import weakref

import models_cfg
import pytest
import torch
from network_records import EQUAL, filled, normal

from mmseg.apis.predicting.segmenter import scores_of
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


def test_a_gpu_gets_more_windows_if_they_are_small():
    """9·512·512 pixels are 36 windows of 256x256, and 2.25 of 1024x1024."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    for side, expected in ((256, 36), (512, 9), (1024, 2), (2048, 1)):
        assert windows_per_call({}, (side, side), gpu) == expected
        assert windows_per_call({"batched_slide": True}, (side, side), gpu) == max(expected, 2)
        assert windows_per_call({"window_batch_size": 3}, (side, side), gpu) == 3
        assert windows_per_call({}, (side, side), cpu) == 1


@pytest.mark.parametrize("size", [0, -2, 1.5, "4", True])
def test_a_number_of_windows_that_is_none_is_an_error(size):
    words = "window_batch_size of test_cfg: expected a .*number.*, got "
    with pytest.raises(ConfigError, match=words):
        build_segmentor(models_cfg.daformer(test_cfg={**SLIDE, "window_batch_size": size}))


def two_scores(window):
    """Two classes; the logit of the second grows by 3 from column to column of the window."""
    ramp = torch.arange(window.shape[3]).to(window) * 3
    return torch.stack([torch.zeros_like(window[:, 0]), window[:, 0] + ramp], dim=1)


class TestAverageOfProbabilities:
    """`average='softmax'`: every window's probabilities count alike, however large its logits."""

    CFG = {"mode": "slide", "crop_size": (2, 2), "stride": (2, 1), "average": "softmax"}
    METAS = [{"ori_shape": (2, 3, 3)}]

    def network(self, **changes):
        network = build_segmentor(models_cfg.daformer(test_cfg={**self.CFG, **changes})).eval()
        network.encode_decode = lambda window, metas: two_scores(window)
        return network

    def test_the_overlap_by_hand(self):
        """Two windows of two columns over three; the image is 0, so logits are 0 and 3 in each.

        The middle column is the second of the first window, σ(3), and the first of the second, ½.
        """
        probability = self.network().inference(torch.zeros(1, 3, 2, 3), self.METAS)[0, 1, 0]
        sigma = 1 / (1 + math.exp(-3))
        expected = torch.tensor([0.5, (sigma + 0.5) / 2, sigma])
        torch.testing.assert_close(probability, expected)
        logits = self.network(average="logits").inference(torch.zeros(1, 3, 2, 3), self.METAS)
        torch.testing.assert_close(logits[0, 1, 0, 1], torch.tensor(1 / (1 + math.exp(-1.5))))

    def test_it_changes_labels_where_one_window_is_surer(self):
        """In the middle row, logits 6, -2, -2 have the mean 2/3, and their probabilities 0.41."""
        network = {a: self.network(average=a) for a in ("logits", "softmax")}
        said = iter([6.0, -2.0, -2.0] * 2)
        for one in network.values():
            one.test_cfg = {**one.test_cfg, "crop_size": (3, 3), "stride": (1, 3)}
            one.encode_decode = lambda window, metas: torch.stack(
                [torch.zeros_like(window[:, 0]), torch.full_like(window[:, 0], next(said))], 1
            )
        image, metas = torch.zeros(1, 3, 5, 3), [{"ori_shape": (5, 3, 3)}]
        labels = {a: one.simple_test(image, metas)[0][:, 0].tolist() for a, one in network.items()}
        assert labels == {"logits": [1, 1, 1, 0, 0], "softmax": [1, 1, 0, 0, 0]}

    def test_it_equals_a_slow_mean_over_the_recorded_windows(self, golden):
        """The windows of golden V; a batch of two images, one or several windows per call."""
        record = json.loads(gzip.decompress((golden / "V/recipe.json.gz").read_bytes()))
        record = record["cases"]["slide"]
        boxes = [tuple(box) for box in record["windows"]]
        assert window_boxes((192, 400), (record["crop"],) * 2, (record["stride"],) * 2) == boxes
        image = normal("image", 2, 3, 192, 400)
        total, count = torch.zeros(2, 2, 192, 400).double(), torch.zeros(192, 400)
        for y1, y2, x1, x2 in boxes:
            total[..., y1:y2, x1:x2] += two_scores(image[..., y1:y2, x1:x2]).softmax(1)
            count[y1:y2, x1:x2] += 1
        sizes = {"crop_size": (192, 192), "stride": (96, 96)}
        for windows in (1, 3):
            network = self.network(**sizes, window_batch_size=windows)
            metas = [{"ori_shape": (192, 400, 3)}] * 2
            found = network.inference(image, metas)
            torch.testing.assert_close(found, total / count, **EQUAL)

    @pytest.mark.parametrize("average", ["softmax", "logits"])
    def test_every_way_to_predict_returns_probabilities(self, average):
        """They sum to 1 at any output size, and mirrored ones average to symmetric ones."""
        network = self.network(average=average)
        image, large = normal("image", 1, 3, 2, 3), {"ori_shape": (5, 7, 3)}
        mirrored = {**large, "flip": True, "flip_direction": "horizontal"}
        found = network.inference(image, [large])
        assert found.shape == (1, 2, 5, 7)
        torch.testing.assert_close(found.sum(1), torch.ones(1, 5, 7).double())
        both = found + network.inference(image.flip(3), [mirrored])
        labels = network.forward_test([image, image.flip(3)], [[large], [mirrored]])[0]
        assert labels.tolist() == both.argmax(1)[0].tolist()
        scores = scores_of(
            network, {"img": [image, image.flip(3)], "img_metas": [[large], [mirrored]]}
        )
        torch.testing.assert_close(torch.from_numpy(scores), (both / 2)[0].float())

    def test_half_precision_is_averaged_in_single(self):
        network = self.network()
        network.encode_decode = lambda window, metas: two_scores(window).bfloat16()
        assert network.inference(torch.zeros(1, 3, 2, 3), self.METAS).dtype == torch.float32

    def test_whole_images_have_one_softmax(self):
        network = self.network(mode="whole")
        image = normal("image", 1, 3, 2, 3)
        torch.testing.assert_close(
            network.inference(image, self.METAS), two_scores(image).softmax(1)
        )

    def test_hrda_averages_them_outside_and_its_detail_as_logits(self):
        """Its attention, which is no score of a class, stays as it is."""
        cfg = {**SLIDE, "average": "softmax"}
        found = {}
        for average in ("softmax", "logits"):
            test_cfg = {**cfg, "average": average}
            network = filled(build_segmentor(models_cfg.hrda(test_cfg=test_cfg, hr_crop=(16, 16))))
            network.eval()
            image, metas = normal("image", 1, 3, 32, 60), [{"ori_shape": (32, 60, 3)}]
            with torch.no_grad():
                found[average] = (
                    network.inference(image, metas),
                    network.attention_map(image, metas),
                    torch.stack([network.encode_decode(image[..., :48]).softmax(1),
                                 network.encode_decode(image[..., 12:]).softmax(1)]),
                )  # fmt: skip
        probability, attention, windows = found["softmax"]
        torch.testing.assert_close(probability[..., :12], windows[0][..., :12], **EQUAL)
        middle = (windows[0][..., 12:] + windows[1][..., :36]) / 2
        torch.testing.assert_close(probability[..., 12:48], middle, **EQUAL)
        torch.testing.assert_close(attention, found["logits"][1], **EQUAL)
        assert not torch.allclose(probability, found["logits"][0])

    @pytest.mark.parametrize("value", ["mean", None, True])
    def test_other_averages_are_refused(self, value):
        with pytest.raises(ConfigError, match="average.* expected 'logits' or 'softmax', got"):
            build_segmentor(models_cfg.daformer(test_cfg={**SLIDE, "average": value}))
