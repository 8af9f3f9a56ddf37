"""HRDA's random boxes in training, and its windows in predictions against slow loops."""

import pytest
import torch
from hrda_networks import UNIT, WINDOW, FixedBox, build, labels
from network_records import EQUAL, normal

from mmseg.models.uda import Draws

SIZES = [
    (64, 96),
    (80, 112),  # last windows shifted inside
    (77, 101),  # odd
    (32, 48),  # exactly one window
    (24, 100),  # lower than a window
    (9, 15),  # smaller than a window, odd
]


class TestBoxes:
    def test_offsets_are_multiples_and_all_are_drawn(self) -> None:
        """Margins 63 - 32 = 31 and 101 - 48 = 53: 32//16 = 2 and 54//16 = 3 offsets."""
        network, image = build(), normal("image", 1, 3, 63, 101)
        boxes = {network.draw_box(image) for _ in range(200)}
        offsets = {(y, x) for y, _, x, _ in boxes}
        assert offsets == {(y, x) for y in (0, 16) for x in (0, 16, 32)}
        assert all(y2 - y1 == 32 and x2 - x1 == 48 for y1, y2, x1, x2 in boxes)

    @pytest.mark.parametrize("size", [(32, 48), (20, 40), (33, 62)])
    def test_without_room_nothing_is_drawn(self, size: tuple[int, int]) -> None:
        network, image = build(), normal("image", 2, 3, *size)
        state = torch.get_rng_state()
        assert network.draw_box(image) == (0, min(size[0], 32), 0, min(size[1], 48))
        assert torch.equal(torch.get_rng_state(), state)

    def test_they_come_from_the_draws_of_the_iteration(self) -> None:
        network, image = build(), normal("image", 2, 3, 300, 400)
        first = [network.draw_box(image, Draws(iteration=i)) for i in range(20)]
        again = [network.draw_box(image, Draws(iteration=i)) for i in range(20)]
        assert first == again
        assert len(set(first)) > 10
        asked = FixedBox(0, 32, 0, 48)
        network.train_logits(image, None, asked)
        network.forward_train(image, None, labels(2, 1, 300, 400), draws=asked)
        assert asked.asked == [(300, 400, WINDOW, 16)] * 2

    def test_without_draws_they_follow_torchs_seed(self) -> None:
        network, image = build(), normal("image", 1, 3, 300, 400)
        torch.manual_seed(3)
        first = [network.draw_box(image) for _ in range(10)]
        torch.manual_seed(3)
        assert [network.draw_box(image) for _ in range(10)] == first


class TestWindows:
    @pytest.mark.parametrize("overlapping", [True, False])
    @pytest.mark.parametrize("size", SIZES)
    def test_the_detail_is_averaged_as_in_a_slow_loop(
        self, size: tuple[int, int], overlapping: bool
    ) -> None:
        """With attention 1 the fused map is the detail's, one window after the other."""
        network = build(True, {"fixed_attention": 1}, hr_slide_overlapping=overlapping)
        image = normal("image", 2, 3, *size)
        rows, columns = (-(-n // UNIT) for n in size)
        padded = image.new_zeros(2, 3, rows * UNIT, columns * UNIT)
        padded[:, :, : size[0], : size[1]] = image
        total, count = image.new_zeros(2, 5, rows, columns), torch.zeros(rows, columns)
        for top in starts(rows * UNIT, WINDOW[0], overlapping):
            for left in starts(columns * UNIT, WINDOW[1], overlapping):
                window = padded[:, :, top : top + WINDOW[0], left : left + WINDOW[1]]
                logits = network.decode_head.head(network.backbone(window))
                for i in range(logits.shape[2]):
                    for j in range(logits.shape[3]):
                        total[:, :, top // UNIT + i, left // UNIT + j] += logits[:, :, i, j]
                        count[top // UNIT + i, left // UNIT + j] += 1
        assert count.min() > 0
        fused = network.encode_decode(image, upscale_pred=False)
        torch.testing.assert_close(fused, total / count, **EQUAL)

    @pytest.mark.parametrize("size", SIZES)
    def test_a_network_of_blocks_predicts_the_same_with_and_without_windows(
        self, size: tuple[int, int]
    ) -> None:
        image = normal("image", 2, 3, *size)
        logits = build().encode_decode(image)
        assert logits.shape == (2, 5, *size)
        whole = build(hr_slide_inference=False).encode_decode(image)
        torch.testing.assert_close(logits, whole, **EQUAL)

    @pytest.mark.parametrize("size", SIZES)
    def test_training_sees_images_of_every_size(self, size: tuple[int, int]) -> None:
        network, image = build().train(), normal("image", 2, 3, *size)
        losses = network.forward_train(image, None, labels(2, 1, *size), return_feat=True)
        features = losses.pop("features")
        y1, y2, x1, x2 = features.box
        assert (y2 - y1, x2 - x1) == (min(size[0], 32), min(size[1], 48))
        assert all(torch.isfinite(value) for value in losses.values())
        grid = tuple(-(-n // UNIT) for n in size)
        assert network.train_logits(image, None).shape == (2, 5, *grid)

    @pytest.mark.parametrize(("per_pass", "calls"), [(None, [2] * 12), (2, [2] * 12), (9, [8] * 3)])
    def test_an_evaluation_sends_windows_in_chunks(
        self, per_pass: int | None, calls: list[int]
    ) -> None:
        """An 80×96 image has 4×3 windows, each of them in both images of the batch."""
        image = normal("image", 2, 3, 80, 96)
        network = build(True)
        if per_pass is not None:
            network.test_cfg = {"mode": "whole", "window_batch_size": per_pass}
        logits = network.encode_decode(image)
        assert network.backbone.seen[0] == (2, 3, 40, 48)  # the context
        assert network.backbone.seen[1:] == [(n, 3, *WINDOW) for n in calls]
        torch.testing.assert_close(logits, build(True).train().encode_decode(image), **EQUAL)

    def test_a_teacher_sees_all_windows_of_a_batch_at_once(self) -> None:
        network = build().train()
        network.generate_pseudo_label(normal("image", 2, 3, 80, 96), [{}] * 2)
        assert network.backbone.seen == [(2, 3, 40, 48), (24, 3, *WINDOW)]

    def test_images_of_a_batch_do_not_mix(self) -> None:
        network, image = build(True), normal("image", 3, 3, 77, 101)
        together = network.encode_decode(image)
        alone = torch.cat([network.encode_decode(each[None]) for each in image])
        torch.testing.assert_close(together, alone, **EQUAL)

    def test_sliding_over_large_images_agrees_for_every_chunk(self) -> None:
        image, metas = normal("image", 1, 3, 100, 140), [{"ori_shape": (200, 280, 3)}]
        slide = {"mode": "slide", "crop_size": (64, 72), "stride": (40, 48)}
        sizes = (1, 3, 100)
        results = [
            build(True, test_cfg={**slide, "window_batch_size": n}).inference(image, metas)
            for n in sizes
        ]
        assert results[0].shape == (1, 5, 200, 280)
        for result in results[1:]:
            torch.testing.assert_close(result, results[0], **EQUAL)


def starts(length: int, window: int, overlapping: bool) -> list[int]:
    """Return where windows start, half a window apart, the last one at the border."""
    result = [0]
    while result[-1] + window < length:
        step = window // 2 if overlapping else window
        result.append(min(result[-1] + step, length - window))
    return result
