"""Images resized by their shorter side: recorded crops of VFM-UDA++, worked cases, evaluation."""

import gzip
import json

import numpy as np
import pytest
import torch
from golden_init import arr, blocky_labels
from tiny_data import NORM, make_pipeline_test, write_png

from mmseg.apis.prediction_files import PredictionFiles
from mmseg.config import short_side_steps
from mmseg.config.registry import PIPELINES
from mmseg.datasets import build_dataset
from mmseg.datasets.image_files import read_color
from mmseg.datasets.pipelines import Compose, LoadImageFromFile, start_results
from mmseg.datasets.pipelines.resizing import size_by_short_side
from mmseg.engine.evaluator import Evaluator

MARGINS = [0.03, 0.25, 0.03, 0.03]


class FixedDraws:
    """Draws the given shares of a range, and the given whole numbers, in turn."""

    def __init__(self, shares, integers):
        self.shares, self.numbers = iter(shares), iter(integers)

    def random(self):
        return next(self.shares)

    def integers(self, low, high):
        number = next(self.numbers)
        assert low <= number < high
        return number


@pytest.mark.parametrize("case", ["transform", "transform_up"])
def test_resized_and_cut_sample_is_the_recorded_one(case, golden, tmp_path):
    """Pixels, labels and margins are equal. The margins are shares of the file's sides."""
    record = json.loads(gzip.decompress((golden / "V/recipe.json.gz").read_bytes()))["cases"][case]
    arrays = np.load(golden / "V/recipe.npz")
    size = {"transform": (60, 104), "transform_up": (53, 96)}[case]
    image = arr(f"V:{case}:img", (*size, 3), "uniform", lo=0, hi=256).astype(np.uint8)
    label = blocky_labels(f"V:{case}:lab", *size, range(19), 8, 0.02).astype(np.uint8)
    write_png(tmp_path / "image.png", image[..., ::-1])
    write_png(tmp_path / "label.png", label)
    side = record["crop"]
    steps = short_side_steps(record["short_side"], (side, side), NORM)[:5]
    share = (record["ratio"] - 0.9) / 0.2
    sample = Compose(steps)(
        {
            "img_info": {"filename": str(tmp_path / "image.png")},
            "ann_info": {"seg_map": str(tmp_path / "label.png")},
            "crop_pseudo_margins": MARGINS,
            "rng": FixedDraws([share], record["crop_offset_yx"]),
        }
    )
    expected = {k: arrays[f"{case}/{k}/f32"].reshape(v["shape"]) for k, v in record["out"].items()}
    np.testing.assert_array_equal(sample["img"][..., ::-1].transpose(2, 0, 1), expected["image"])
    np.testing.assert_array_equal(sample["gt_semantic_seg"], expected["label"])
    np.testing.assert_array_equal(sample["valid_pseudo_mask"] == 0, expected["margin"] == 255)
    assert sample["img_shape"] == (side, side, 3)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1914, 1052), 1440, (2620, 1440)),  # GTA: 1914·1440/1052 = 2619.9
        ((1280, 760), 1024, (1725, 1024)),  # SYNTHIA: 1724.6
        ((2048, 1024), 1024, (2048, 1024)),
        ((1024, 2048), 921.6, (922, 1843)),  # upright
    ],
)
def test_the_shorter_side_is_as_asked_and_the_other_follows(size, short_side, expected):
    assert size_by_short_side(size, short_side) == expected


def test_a_shrinking_image_is_averaged_and_its_depth_is_not():
    """Columns 0, 100, 0, 100, … at half size: Pillow's triangle covers both; depth stays linear.

    Weights of the triangle, 1/8, 3/8, 3/8, 1/8 of neighbors, give 50 for the inner columns.
    """
    stripes = np.tile(np.array([0, 100], np.uint8), (12, 8))
    sample = {**start_results(np.stack([stripes] * 3, -1)), "depth": stripes.astype(np.float32)}
    for image in (sample["img"], sample["img"].astype(np.float32)):
        got = PIPELINES.build({"type": "Resize", "short_side": 6})({**sample, "img": image})
        assert got["img"].shape == (6, 8, 3)
        assert got["img"].dtype == image.dtype
        assert (got["img"][:, 1:-1] == 50).all()
        assert got["scale_factor"].tolist() == [0.5, 0.5, 0.5, 0.5]
    half = PIPELINES.build({"type": "Resize", "img_scale": (8, 6)})(sample)
    np.testing.assert_array_equal(got["depth"], half["depth"])


def test_the_size_is_drawn_between_nine_and_eleven_tenths():
    step = PIPELINES.build({"type": "Resize", "short_side": 100, "ratio_range": (0.9, 1.1)})
    assert step.is_random
    assert not PIPELINES.build({"type": "Resize", "short_side": 100}).is_random
    image = np.zeros((20, 30, 3), np.uint8)
    sizes = {
        step({**start_results(image), "rng": np.random.default_rng(n)})["img"].shape[:2]
        for n in range(60)
    }
    assert all(90 <= height <= 110 and abs(width - 1.5 * height) <= 1 for height, width in sizes)
    assert min(sizes)[0] < 93
    assert max(sizes)[0] > 107


def test_what_is_padded_before_the_cut_is_black_ignored_and_not_trusted(files):
    """The image becomes 30 x 46 times 0.9 at least, so a crop of 33 x 41 needs padding below."""
    steps = short_side_steps(30, (33, 41), NORM)
    section = files.target(pipeline=steps, crop_pseudo_margins=[0, 0, 0, 0])
    pairs = build_dataset(files.pairs(source=files.source(pipeline=steps), target=section))
    black = torch.tensor([-m / s for m, s in zip(NORM["mean"], NORM["std"], strict=True)])
    padded = 0
    for n in range(8):
        rng = np.random.default_rng(n)
        pair = pairs.sample(0, rng)
        assert pair["img"].shape == pair["target_img"].shape == (3, 33, 41)
        trusted = pair["valid_pseudo_mask"][0].bool()
        assert (pair["target_depth"][~trusted] == 255).all()
        below = pair["target_img"].permute(1, 2, 0)[~trusted]
        torch.testing.assert_close(below, black.expand_as(below))
        padded += int((~trusted).sum())
    assert padded > 0


@pytest.mark.parametrize(
    ("margins", "rows", "columns"),
    [
        ([0.03, 0.25, 0.03, 0.03], slice(30, 768), slice(61, 1987)),  # of 1024 and 2048
        ([30, 240, 30, 30], slice(30, 784), slice(30, 2018)),
        ([0, 0.5, 1, 0.0], slice(0, 512), slice(1, 2048)),
    ],
)
def test_margins_are_pixels_or_below_one_shares_of_the_sides(margins, rows, columns, tmp_path):
    write_png(tmp_path / "x.png", np.zeros((1024, 2048, 3), np.uint8))
    info = {"img_info": {"filename": str(tmp_path / "x.png")}, "crop_pseudo_margins": margins}
    mask = LoadImageFromFile()(info)["valid_pseudo_mask"]
    assert mask[rows, columns].all()
    assert mask.sum() == mask[rows, columns].size


def test_a_mirrored_image_has_mirrored_margins(files):
    steps = short_side_steps(30, (27, 41), NORM, labeled=False)
    steps = [s for s in steps if s["type"] not in ("RandomCrop", "Pad")]
    steps = [{**s, "prob": 1.0} if s["type"] == "RandomFlip" else s for s in steps]
    section = files.target(pipeline=steps, crop_pseudo_margins=[0, 0, 0.5, 0])
    mask = build_dataset(section)[0]["valid_pseudo_mask"][0]
    half = mask.shape[1] // 2
    assert mask[:, : half - 1].all()
    assert not mask[:, half + 1 :].any()


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        ([0.03, -0.5, 0, 0], r"crop_pseudo_margins\[1\].*: .* a number of at least 0, got -0.5"),
        ([0.03, 1.0, 0, 0], r"crop_pseudo_margins\[1\].*: .* or a number below 1, got 1.0"),
        ([0.03, "1%", 0, 0], r"crop_pseudo_margins\[1\].*: expected a .*number.* got '1%'"),
        ([0.03, 0.25], "crop_pseudo_margins.*: expected a list of at least 4"),
    ],
)
def test_wrong_margins_are_refused_with_the_reason(margins, message, files):
    with pytest.raises(ValueError, match=message):
        build_dataset(files.target(crop_pseudo_margins=margins))


def test_margins_that_leave_nothing_name_the_image(files):
    with pytest.raises(
        ValueError, match=r"leave a part of '.*' \(46x30\), got .*0.6, 0.5.*smaller"
    ):
        build_dataset(files.target(crop_pseudo_margins=[0.6, 0.5, 0, 0]))[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_side": 9, "img_scale": (4, 3)}, r"without img_scale .* got img_scale=\(4, 3\)"),
        ({"short_side": 9, "keep_ratio": False}, "keep_ratio=True, got .*keep_ratio=False. Drop"),
        ({"short_side": 0}, "short_side .*at least 1, got 0"),
        ({"short_side": 9.5}, "short_side .*expected a whole number.* got 9.5"),
        ({"short_sid": 9}, "did you mean 'short_side'"),
    ],
)
def test_wrong_short_sides_are_refused_with_the_reason(options, message):
    with pytest.raises(ValueError, match=message):
        PIPELINES.build({"type": "Resize", **options})


def test_a_resize_without_any_size_names_the_keys():
    with pytest.raises(
        ValueError, match="img_scale, short_side or ratio_range in Resize, got none"
    ):
        PIPELINES.build({"type": "Resize"})(start_results(np.zeros((3, 4, 3), np.uint8)))


def evaluated(files, **options):
    pipeline = make_pipeline_test((999, 999), img_ratios=1.0)
    pipeline[1].pop("img_scale")
    return build_dataset(files.target(pipeline=pipeline, **options), test_mode=True)


class Oracle(torch.nn.Module):
    """Labels every image with what `labels` holds of its size."""

    def __init__(self, labels):
        super().__init__()
        self.labels, self.weight = labels, torch.nn.Parameter(torch.zeros(1))

    def forward_test(self, imgs, img_metas):
        assert tuple(imgs[0].shape[2:]) == img_metas[0][0]["ori_shape"][:2]
        return [self.labels[img_metas[0][0]["ori_filename"]]]


def test_images_and_labels_of_an_evaluation_have_the_short_side(files):
    """30 x 46 pixels at short side 60 are 60 x 92: every label twice in both directions."""
    plain, large = evaluated(files), evaluated(files, test_short_side=60)
    for index in range(len(plain)):
        doubled = np.kron(plain.gt_label(index), np.ones((2, 2), np.uint8))
        np.testing.assert_array_equal(large.gt_label(index), doubled)
    assert large[0]["img"][0].shape == (3, 60, 92)
    assert large[0]["img_metas"][0]["ori_shape"] == (60, 92, 3)
    names = [info["filename"] for info in large.img_infos]
    oracle = Oracle({name: large.gt_label(i) for i, name in enumerate(names)})
    evaluation = Evaluator(large)(oracle)
    assert evaluation is not None
    assert evaluation.score == 1.0


def test_pictures_of_an_evaluation_show_images_of_its_size(files, tmp_path):
    data = evaluated(files, test_short_side=60)
    written = PredictionFiles(data, str(tmp_path / "painted"), opacity=0.5)
    written.take(0, data.gt_label(0))
    (picture,) = (tmp_path / "painted").rglob("*.png")
    assert read_color(picture).shape == (60, 92, 3)


def test_training_data_keep_their_own_size(files):
    assert build_dataset(files.target(test_short_side=60)).gt_label(0).shape == (30, 46)
