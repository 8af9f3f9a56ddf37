"""Picture -> network input: the sizes and values that the published models were trained with."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from mmseg.preprocessing.depth_maps.images import InputRule, read_rule

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEPTH_ANYTHING = {
    "do_normalize": True, "do_pad": False, "do_rescale": True, "do_resize": True,
    "ensure_multiple_of": 14, "image_mean": list(MEAN), "image_std": list(STD),
    "keep_aspect_ratio": True, "resample": 3, "rescale_factor": 0.00392156862745098,
    "size": {"height": 518, "width": 518}, "size_divisor": None,
}  # fmt: skip


@pytest.fixture
def rule_of(tmp_path):
    """Read the rule of settings, as they lie beside a network."""

    def rule_of(settings: dict, is_depth_anything: bool = False) -> InputRule:
        file = tmp_path / "preprocessor_config.json"
        file.write_text(json.dumps(settings))
        return read_rule(file, is_depth_anything)

    return rule_of


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((1052, 1914), (518, 938)),  # GTA: 942.4 is nearer to 67 than to 68 times 14
        ((1024, 2048), (518, 1036)),  # Cityscapes
        ((760, 1280), (518, 868)),  # Synthia
        ((1080, 1920), (518, 924)),  # ACDC: 920.9
        ((2048, 1024), (1036, 518)),
        ((100, 300), (518, 1554)),  # enlarged
        ((518, 518), (518, 518)),
    ],
)
def test_the_input_of_depth_anything_has_the_published_size(picture, expected) -> None:
    assert InputRule().size_for(*picture) == expected


def test_the_file_of_depth_anything_says_what_is_used_without_it(rule_of, tmp_path) -> None:
    """As plain values, which `depth.json` holds."""
    rule = rule_of(DEPTH_ANYTHING, is_depth_anything=True)
    assert rule == InputRule() == read_rule(tmp_path / "none", is_depth_anything=True)
    assert json.loads(json.dumps(asdict(rule))) == {
        "fit": "cover", "size": [518, 518], "multiple": 14, "rounding": "nearest",
        "interpolation": "cubic", "divisor": 255.0, "mean": list(MEAN), "std": list(STD),
    }  # fmt: skip


def test_another_shorter_side_is_never_rounded_below(rule_of) -> None:
    rule = rule_of({**DEPTH_ANYTHING, "size": 520}, is_depth_anything=True)
    assert rule.size_for(520, 520) == (532, 532)
    assert rule.size_for(1052, 1914) == (532, 952)  # 946.1


def test_digits_lost_by_scaling_do_not_cost_a_multiple(rule_of) -> None:
    rule = rule_of({"size": 96, "size_divisor": 32})  # rounded down
    assert {rule.size_for(side, side + 1) for side in range(1, 2000)} == {(96, 96)}


@pytest.mark.parametrize("picture", [(37, 53), (30, 20), (28, 28)])
def test_pixels_are_those_of_a_plain_computation(picture: tuple[int, int], rule_of) -> None:
    """Red, green, blue."""
    rule = rule_of({**DEPTH_ANYTHING, "size": 28}, is_depth_anything=True)
    image = np.random.default_rng(1).integers(0, 256, (*picture, 3), dtype=np.uint8)
    pixels = rule.pixels(image)
    height, width = rule.size_for(*picture)
    assert pixels.shape == (3, height, width) and pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) / 255.0  # float64
    resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC)
    expected = ((resized - MEAN) / STD).transpose(2, 0, 1)
    assert np.abs(pixels - expected).max() < 1e-5  # float32, values up to 3


GLPN = {"do_rescale": True, "do_resize": True, "resample": 2, "size_divisor": 32}
MIDAS = {**DEPTH_ANYTHING, "size": {"height": 384, "width": 512}, "ensure_multiple_of": 32}


@pytest.mark.parametrize(
    ("settings", "picture", "expected"),
    [
        ({"size": 384}, (1052, 1914), (384, 384)),
        ({"size": {"height": 32, "width": 48}}, (1052, 1914), (32, 48)),
        ({"size": {"shortest_edge": 200}}, (400, 802), (200, 401)),
        (MIDAS, (1024, 2048), (384, 768)),  # 0.375 changes it less than 0.25
        (MIDAS, (900, 1000), (448, 512)),  # 0.512: 460.8 is 14.4 times 32
        (MIDAS, (300, 400), (384, 512)),
        (GLPN, (1052, 1914), (1024, 1888)),
        (GLPN, (20, 64), (32, 64)),
        ({"do_resize": False, "do_pad": True, "size_divisor": 14}, (27, 70), (28, 70)),
        ({"do_resize": False, "size": 384}, (45, 67), (45, 67)),
        ({"size": 30, "size_divisor": 16, "do_pad": False}, (45, 67), (30, 30)),
    ],
)
def test_sizes_of_other_models_follow_their_files(settings, picture, expected, rule_of) -> None:
    assert rule_of(settings).size_for(*picture) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (GLPN, [0.2, 0.4, 0.6]),
        ({**GLPN, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}, [-1.2, -0.4, 0.4]),
        ({**GLPN, "image_mean": [0.5] * 3, "do_normalize": False}, [0.2, 0.4, 0.6]),
        ({**GLPN, "do_rescale": False}, [51, 102, 153]),
        ({**GLPN, "rescale_factor": 1 / 51}, [1, 2, 3]),
        ({**GLPN, "rescale_factor": 0.0039215}, [0.2, 0.4, 0.6]),
    ],
)
def test_values_of_other_models_follow_their_files(settings, expected, rule_of) -> None:
    image = np.full((32, 64, 3), (153, 102, 51), np.uint8)
    pixels = rule_of(settings).pixels(image)
    assert pixels.shape == (3, 32, 64)
    assert pixels[:, 9, 40].tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ([], "'list' object"),
        ({"size": {"longest_edge": 9}}, "no 'height'"),
        ({"size": 384, "do_normalize": True}, "no 'image_mean'"),
        ({"size": 384, "image_mean": [1, 2], "image_std": [1, 2]}, "not enough values"),
        ({"size": 384, "image_mean": [0] * 3, "image_std": [0, 1, 1]}, "image_std"),
        ({"size": 384, "resample": 77}, "no 77"),
        ({"size": 0}, "size"),
        ({"size": "large"}, "."),
        ({"size": 9, "rescale_factor": 0}, "division by zero"),
        ({"size": 9, "ensure_multiple_of": -2}, "ensure_multiple_of -2"),
    ],
)
def test_settings_without_sense_are_named(settings, reason: str, rule_of) -> None:
    message = f"settings of an image processor.*preprocessor_config.json', got: .*{reason}.*; copy"
    with pytest.raises(ValueError, match=message):
        rule_of(settings)
