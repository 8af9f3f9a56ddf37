"""Pipeline steps against recorded values, slow loops and properties."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmseg.config.registry import PIPELINES
from mmseg.datasets.pipelines import Compose, PhotoMetricDistortion, RandomCrop, start_results

NORM = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}
STEPS = {
    "norm": [{"type": "Normalize", **NORM}],
    "resize": [{"type": "Resize", "img_scale": (45, 24)}],
    "resize_up": [{"type": "Resize", "img_scale": (60, 40)}],
    "resize_down_nokeep": [{"type": "Resize", "img_scale": (15, 12), "keep_ratio": False}],
    "flip": [{"type": "RandomFlip", "prob": 1.0}],
    "pad": [{"type": "Pad", "size": (32, 32), "pad_val": 0, "seg_pad_val": 255}],
    "pad_div": [{"type": "Pad", "size_divisor": 16, "pad_val": 0, "seg_pad_val": 255}],
    "full": [
        {"type": "Resize", "img_scale": (60, 40)},
        {"type": "RandomFlip", "prob": 1.0},
        {"type": "Normalize", **NORM},
        {"type": "Pad", "size": (48, 64), "pad_val": 0, "seg_pad_val": 255},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"]},
    ],
}


class LegacyDraws:
    """The draws of numpy's global generator behind the interface of a `Generator`."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)

    def integers(self, low, high=None):
        return self.state.randint(low, high)

    def random(self):
        return self.state.rand()


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "I/I.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def facts(golden):
    return json.loads((golden / "I/I.json").read_text())


@pytest.fixture
def sample(arrays):
    loaded = start_results(arrays["I_img_bgr"].copy(), "x.png")
    loaded.pop("img_norm_cfg")  # as in the recorded input
    return {
        **loaded,
        "gt_semantic_seg": arrays["I_gt"].copy(),
        "depth": arrays["I_dep"].copy(),
        "seg_fields": ["gt_semantic_seg"],
        "rng": np.random.default_rng(0),
    }


def coordinate_sample(height=23, width=37):
    """A sample whose image, label and depth all tell each pixel's place."""
    y, x = np.mgrid[:height, :width]
    number = y * width + x
    return {
        **start_results(np.stack([y, x, y], -1).astype(np.uint8), "x.png"),
        "gt_semantic_seg": (number % 251).astype(np.uint8),
        "valid_pseudo_mask": (number % 2).astype(np.uint8),
        "depth": number.astype(np.float32),
        "seg_fields": ["valid_pseudo_mask", "gt_semantic_seg"],
    }


@pytest.mark.parametrize("name", list(STEPS))
def test_step_gives_the_recorded_values(name, sample, arrays, facts):
    """Pixels exact, normalized ones to 1e-5; depth, whose floats are interpolated, to 1e-3.

    It is 1.7e-4 without the IPP, which OpenCV has on x86-64 alone, and 0 with it.
    """
    got = Compose(STEPS[name])(sample)
    for key in ("img", "gt_semantic_seg"):
        expected = arrays[f"I_{name}_{key}"]
        assert np.asarray(got[key]).dtype == expected.dtype
        np.testing.assert_allclose(np.asarray(got[key]), expected, rtol=0, atol=1e-5)
    depth = np.asarray(got["depth"]).reshape(arrays[f"I_{name}_dep_info"].shape)
    np.testing.assert_allclose(depth, arrays[f"I_{name}_dep_info"], rtol=0, atol=1e-3)
    record = facts[f"op_{name}"]
    renamed = {{"dep_info": "depth"}.get(key, key) for key in record["keys"]}
    assert set(got) - {"rng"} == renamed
    if name != "full":
        assert str(got["img_shape"]) == record["img_shape"]
        assert str(got["pad_shape"]) == record["pad_shape"]
    if isinstance(record["scale_factor"], dict):
        expected = np.array(record["scale_factor"]["values"], np.float32)
        np.testing.assert_array_equal(got["scale_factor"], expected)


@pytest.mark.parametrize("name", ["crop0", "crop1", "crop2"])
def test_crop_draws_and_tests_windows_as_recorded(name, sample, arrays, facts):
    record = facts[name]
    sample["rng"] = LegacyDraws(record["np_seed"])
    got = RandomCrop(record["crop_size"], record["cat_max_ratio"])(sample)
    np.testing.assert_array_equal(got["img"], arrays[f"I_{name}_img"])
    np.testing.assert_array_equal(got["gt_semantic_seg"], arrays[f"I_{name}_gt"])
    np.testing.assert_array_equal(got["depth"], arrays[f"I_{name}_dep"])


@pytest.mark.parametrize(
    "step",
    [
        {"type": "RandomCrop", "crop_size": (11, 17), "cat_max_ratio": 0.9},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "RandomFlip", "prob": 1.0, "direction": "vertical"},
        {"type": "Pad", "size": (29, 41), "pad_val": 0, "seg_pad_val": 255},
    ],
)
def test_image_label_mask_and_depth_stay_aligned(step):
    """Where the image says pixel (y, x), label, mask and depth are those of (y, x)."""
    step = PIPELINES.build(step)
    for seed in range(5):
        got = step({**coordinate_sample(), "rng": np.random.default_rng(seed)})
        y, x = got["img"][..., 0].astype(int), got["img"][..., 1].astype(int)
        is_real = got["depth"] == y * 37 + x
        np.testing.assert_array_equal(
            got["gt_semantic_seg"][is_real], ((y * 37 + x) % 251)[is_real]
        )
        np.testing.assert_array_equal(
            got["valid_pseudo_mask"][is_real], ((y * 37 + x) % 2)[is_real]
        )
        assert is_real.sum() == min(23, got["img"].shape[0]) * min(37, got["img"].shape[1])
        np.testing.assert_array_equal(got["gt_semantic_seg"][~is_real], 255)
        np.testing.assert_array_equal(got["valid_pseudo_mask"][~is_real], 0)
        np.testing.assert_array_equal(got["depth"][~is_real], 255)


def test_resize_maps_depth_like_the_image():
    """A linear ramp stays one: resized image and depth agree to 1 (8-bit rounding)."""
    ramp = np.tile(np.arange(60, dtype=np.uint8)[None], (40, 1))
    sample = {**start_results(np.stack([ramp] * 3, -1)), "depth": ramp.astype(np.float32)}
    for scale in ((30, 20), (90, 60), (47, 33)):
        got = PIPELINES.build({"type": "Resize", "img_scale": scale})(sample)
        assert got["depth"].shape == got["img"].shape[:2] == got["img_shape"][:2]
        assert np.abs(got["depth"] - got["img"][..., 0]).max() <= 1


@pytest.mark.parametrize("ratio_range", [(0.5, 2.0), (1.0, 1.0)])
def test_resize_draws_one_ratio_for_both_sides(ratio_range):
    step = PIPELINES.build(
        {"type": "Resize", "img_scale": (37, 23), "ratio_range": ratio_range, "keep_ratio": False}
    )
    drawn = np.random.default_rng(3).random() * (ratio_range[1] - ratio_range[0]) + ratio_range[0]
    got = step({**coordinate_sample(), "rng": np.random.default_rng(3)})
    assert got["img"].shape[:2] == (int(23 * drawn), int(37 * drawn))


def test_resize_of_several_scales_stays_within_them():
    step = PIPELINES.build({"type": "Resize", "img_scale": [(40, 20), (80, 30)]})
    for seed in range(20):
        scale = step({**coordinate_sample(), "rng": np.random.default_rng(seed)})["scale"]
        assert 40 <= scale[0] <= 80
        assert 20 <= scale[1] <= 30
    one_of = PIPELINES.build(
        {"type": "Resize", "img_scale": [(40, 20), (80, 30)], "multiscale_mode": "value"}
    )
    drawn = {
        one_of({**coordinate_sample(), "rng": np.random.default_rng(s)})["scale"] for s in range(20)
    }
    assert drawn == {(40, 20), (80, 30)}


def test_crop_tests_at_most_ten_windows_and_keeps_the_last_untested():
    """A label of one class never passes: eleven windows are drawn, the eleventh is used."""
    sample = coordinate_sample()
    sample["gt_semantic_seg"] = np.zeros((23, 37), np.uint8)
    rng = np.random.default_rng(7)
    boxes = [(int(rng.integers(0, 13)), int(rng.integers(0, 21))) for _ in range(11)]
    got = RandomCrop((11, 17), 0.5)({**sample, "rng": np.random.default_rng(7)})
    assert tuple(got["img"][0, 0, :2]) == boxes[-1]


def test_photometric_distortion_follows_the_slow_loop():
    """The order of draws: brightness, coin, [contrast], saturation, hue, [contrast]."""
    image = np.random.default_rng(2).integers(0, 256, (9, 14, 3), np.uint8)

    def slow(rng):
        out = image.copy()

        def linear(x, a, b):
            return np.clip(x.astype(np.float32) * a + b, 0, 255).astype(np.uint8)

        if rng.integers(2):
            out = linear(out, 1, rng.uniform(-32, 32))
        first = rng.integers(2)
        for kind in ("contrast",) * int(first) + ("hsv",) + ("contrast",) * int(not first):
            if kind == "contrast":
                if rng.integers(2):
                    out = linear(out, rng.uniform(0.5, 1.5), 0)
                continue
            if rng.integers(2):
                hsv = cv2.cvtColor(out, cv2.COLOR_BGR2HSV)
                hsv[..., 1] = linear(hsv[..., 1], rng.uniform(0.5, 1.5), 0)
                out = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
            if rng.integers(2):
                hsv = cv2.cvtColor(out, cv2.COLOR_BGR2HSV)
                hsv[..., 0] = (hsv[..., 0].astype(int) + rng.integers(-18, 18)) % 180
                out = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return out

    changed = 0
    for seed in range(60):
        results = {"img": image, "rng": np.random.default_rng(seed)}
        got = PhotoMetricDistortion()(results)["img"]
        np.testing.assert_array_equal(got, slow(np.random.default_rng(seed)))
        changed += bool((got != image).any())
    assert 50 <= changed < 60  # all four coins fail once in 16 times


@pytest.mark.parametrize("name", [*STEPS, "photometric", "crop"])
def test_step_leaves_its_input_unchanged(name, sample):
    extra = {
        "photometric": [{"type": "PhotoMetricDistortion"}],
        "crop": [{"type": "RandomCrop", "crop_size": (12, 16), "cat_max_ratio": 0.3}],
    }
    before = {k: v.copy() for k, v in sample.items() if isinstance(v, np.ndarray)}
    keys = list(sample)
    for _ in range(4):
        Compose({**STEPS, **extra}[name])(sample)
    assert list(sample) == keys
    assert sample["seg_fields"] == ["gt_semantic_seg"]
    for key, value in before.items():
        np.testing.assert_array_equal(sample[key], value)


def test_step_without_generator_draws_from_numpys_global_state(sample):
    sample.pop("rng")
    step = RandomCrop((5, 5))
    drawn = []
    for _ in range(2):
        np.random.seed(4)
        drawn.append([step(sample)["img"][0, 0].tolist() for _ in range(3)])
    assert drawn[0] == drawn[1]
    assert len({tuple(pixel) for pixel in drawn[0]}) > 1


def test_bundle_makes_the_types_of_a_batch():
    steps = [
        {"type": "RandomFlip", "prob": 0.0},
        {"type": "Normalize", **NORM},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"]},
    ]
    got = Compose(steps)(coordinate_sample())
    types = {
        "img": ((3, 23, 37), torch.float32),
        "gt_semantic_seg": ((1, 23, 37), torch.int64),
        "valid_pseudo_mask": ((1, 23, 37), torch.uint8),
        "depth": ((23, 37), torch.float32),
    }
    for key, (shape, dtype) in types.items():
        assert (tuple(got[key].shape), got[key].dtype) == (shape, dtype)
        assert got[key].is_contiguous()
    assert set(got) == {*types, "img_metas"}


def test_multi_scale_flip_lists_sizes_then_mirrored_copies():
    """Ratios 0.5 and 1 of (40, 24) and a flip: four images, the odd ones mirrored."""
    steps = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        {"type": "Normalize", **NORM},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    augment = PIPELINES.build(
        {
            "type": "MultiScaleFlipAug",
            "img_scale": (40, 24),
            "img_ratios": [0.5, 1.0],
            "flip": True,
            "transforms": steps,
        }
    )
    got = augment(start_results(coordinate_sample(24, 40)["img"], "x.png"))
    assert [tuple(i.shape) for i in got["img"]] == [(3, 12, 20)] * 2 + [(3, 24, 40)] * 2
    assert [m["flip"] for m in got["img_metas"]] == [False, True, False, True]
    for plain, mirrored in ((0, 1), (2, 3)):
        torch.testing.assert_close(got["img"][mirrored], got["img"][plain].flip(-1))
