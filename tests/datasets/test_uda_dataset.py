"""Pairs, rare class sampling and synchronous crops."""

import gzip
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from tiny_data import train_pipeline, write_png

from mmseg.datasets import build_dataset
from mmseg.datasets.rare_class_sampling import class_probabilities
from mmseg.system.errors import ConfigError

SAMPLING = {"min_pixels": 10, "class_temp": 0.1, "min_crop_ratio": 0.5}


@pytest.mark.parametrize("temperature", ["0.01", "0.1", "1.0"])
def test_class_probabilities_are_the_recorded_ones(golden, temperature):
    """Golden E4, float32: relative tolerance 2e-5."""
    statistics = json.loads((golden / "E/rcs/sample_class_stats.json").read_text())
    expected = json.loads((golden / "E/E.json").read_text())["E4"][temperature]
    classes, probabilities = class_probabilities(statistics, float(temperature))
    assert classes == expected["classes"]
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected["probs"], rtol=2e-5)


@pytest.mark.parametrize("temperature", ["0.05", "0.01"])
def test_class_probabilities_of_cityscapes_are_the_recorded_ones(golden, temperature):
    """Golden V, float32: relative tolerance 2e-5."""
    record = json.loads(gzip.decompress((golden / "V/recipe.json.gz").read_bytes()))["rcs"]
    expected = record["cityscapes"]
    counts = dict(zip(map(str, expected["classes"]), expected["pixels"], strict=True))
    classes, probabilities = class_probabilities([{**counts, "file": "all"}], float(temperature))
    assert classes == expected["classes"]
    np.testing.assert_allclose(probabilities, expected[f"p_T{temperature}"], rtol=2e-5)


def test_class_probabilities_by_hand():
    """Shares 1/4 and 3/4 at T = 1/2: exp(1.5) : exp(0.5) = e : 1."""
    statistics = [{"7": 1, "file": "a"}, {"3": 2, "file": "b"}, {"3": 1, "file": "c"}]
    classes, probabilities = class_probabilities(statistics, 0.5)
    assert classes == [7, 3]
    np.testing.assert_allclose(probabilities, [np.e / (1 + np.e), 1 / (1 + np.e)], rtol=1e-6)


def test_without_sampling_the_index_names_the_pair(files):
    pairs = build_dataset(files.pairs())
    assert len(pairs) == 4 * 3
    names = [
        (pairs[i]["img_metas"]["ori_filename"], pairs[i]["target_img_metas"]["ori_filename"])
        for i in (0, 2, 3, 11)
    ]
    assert names == [
        ("00000.png", "ulm/ulm_000000_000019_leftImg8bit.png"),
        ("00000.png", "ulm/ulm_000002_000019_leftImg8bit.png"),
        ("00001.png", "ulm/ulm_000000_000019_leftImg8bit.png"),
        ("00003.png", "ulm/ulm_000002_000019_leftImg8bit.png"),
    ]
    with pytest.raises(IndexError, match="below 12, got 12"):
        pairs[12]


def test_pair_has_the_agreed_fields(files):
    target = files.target(crop_pseudo_margins=[2, 3, 1, 1])
    pair = build_dataset(files.pairs(target=target))[5]
    shapes = {k: tuple(v.shape) for k, v in pair.items() if isinstance(v, torch.Tensor)}
    assert shapes == {
        "img": (3, 18, 22),
        "gt_semantic_seg": (1, 18, 22),
        "depth": (18, 22),
        "target_img": (3, 18, 22),
        "target_depth": (18, 22),
        "valid_pseudo_mask": (1, 18, 22),
    }
    assert set(pair) == {*shapes, "img_metas", "target_img_metas"}


def test_sampled_images_hold_the_drawn_class(files):
    """Class 1 is in image 1 alone, 3 in image 3 alone; over 300 draws each candidate comes up."""
    pairs = build_dataset(files.pairs(rare_class_sampling=SAMPLING))
    sampling = pairs.rare_class_sampling
    assert sampling.candidates[1] == [1]
    assert sampling.candidates[3] == [3]
    drawn = Counter(
        pairs.source_sample(np.random.default_rng((0, n)))["img_metas"]["ori_filename"]
        for n in range(300)
    )
    expected = np.zeros(4)
    for chosen, p in zip(sampling.classes, sampling.probabilities, strict=True):
        for index in sampling.candidates[chosen]:
            expected[index] += 300 * p / len(sampling.candidates[chosen])
    counts = np.array([drawn[f"{i:05d}.png"] for i in range(4)])
    assert np.abs(counts - expected).max() < 5 * np.sqrt(300 / 4)  # five standard deviations


def test_crops_are_drawn_again_until_the_class_is_inside(tmp_path, files):
    """The slow rule on an image with one 6x6 patch of class 5: test, then up to ten re-draws."""
    label = np.zeros((30, 46), np.uint8)
    label[2:8, 3:9] = 5
    write_png(files.gta / "labels/00001_labelTrainIds.png", label)
    files.write_statistics(
        [{"0": 1344, "5": 36, "file": "gta/labels/00001_labelTrainIds.png"}],
    )
    (files.gta / "one.txt").write_text("00001\n")
    sampling = {"min_pixels": 20, "class_temp": 0.001, "min_crop_ratio": 1.0}
    pairs = build_dataset(
        files.pairs(
            source=files.source(pipeline=train_pipeline(crop=(8, 10)), split="one.txt"),
            rare_class_sampling=sampling,
        )
    )
    assert pairs.rare_class_sampling.classes == [5, 0]
    hits = 0
    for n in range(40):
        rng = np.random.default_rng((4, n))
        chosen = pairs.rare_class_sampling.draw_class(rng)
        index = pairs.rare_class_sampling.candidates[chosen][int(rng.integers(1))]
        sample = pairs.source.sample(index, rng)
        for _ in range(10):
            if (sample["gt_semantic_seg"] == chosen).sum() > 20:
                break
            sample = pairs.source.sample(index, rng)
        got = pairs.source_sample(np.random.default_rng((4, n)))
        assert torch.equal(got["img"], sample["img"])
        assert torch.equal(got["depth"], sample["depth"])
        hits += int((got["gt_semantic_seg"] == 5).sum() > 20)
    assert 10 < hits < 40


MIXED = {"min_pixels": 20, "class_temp": 0.001, "min_crop_ratio": 0.5, "cat_max_ratio": 0.75}


@pytest.mark.parametrize(
    ("label", "is_accepted"),
    [
        ([[5] * 11 + [0] * 5], True),  # 11 of 16 pixels are the class: more than 10, less than 3/4
        ([[5] * 10 + [0] * 5], False),  # not more than 0.5 · 20
        ([[5] * 12 + [0] * 4], False),  # 3/4 are not less than 3/4
        ([[5] * 11 + [255] * 90], False),  # one class alone
        ([[5] * 11 + [0] * 5 + [255] * 90], True),  # ignored pixels do not count
        ([[5] * 11 + [0] * 34], False),  # another class takes too much
    ],
)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_crop_counts_with_enough_of_its_class_and_others_beside_it(
    label, is_accepted, as_tensor, files
):
    sampling = build_dataset(files.pairs(rare_class_sampling={**MIXED, "min_pixels": 1}))
    sampling = sampling.rare_class_sampling
    sampling.min_pixels = 20
    array = np.array(label, np.uint8)
    assert sampling.accepts(torch.from_numpy(array) if as_tensor else array, 5) is is_accepted


def test_as_many_crops_are_tested_as_tries_and_one_more_is_used_untested(files):
    """Nothing passes here, as in a slow loop; a sample is a function of its seed and number."""
    for tries in (1, 3, 20):
        sampling = {**SAMPLING, "min_crop_ratio": 1e6, "tries": tries}
        pairs = build_dataset(files.pairs(rare_class_sampling=sampling))
        rng = np.random.default_rng((4, 2))
        chosen = pairs.rare_class_sampling.draw_class(rng)
        index = pairs.rare_class_sampling.draw_image(chosen, rng)
        for _ in range(tries + 1):
            expected = pairs.source.sample(index, rng)
        for again in range(2):
            pairs.source_sample(np.random.default_rng((4, again)))  # leaves nothing behind
            got = pairs.source_sample(np.random.default_rng((4, 2)))
            assert torch.equal(got["img"], expected["img"])
            assert got["img_metas"]["filename"] == expected["img_metas"]["filename"]


def test_a_share_alone_is_tested_without_a_number_of_pixels(files):
    """Crops of 3 x 2 pixels often show one class: those are drawn again."""
    pipeline = train_pipeline(crop=(3, 2))
    options = {**SAMPLING, "min_crop_ratio": 0, "tries": 40}
    one_class = {}
    for ratio in (1, 0.99):
        sampling = {**options, "cat_max_ratio": ratio}
        config = files.pairs(source=files.source(pipeline=pipeline), rare_class_sampling=sampling)
        pairs = build_dataset(config)
        labels = [
            pairs.source_sample(np.random.default_rng(n))["gt_semantic_seg"] for n in range(9)
        ]
        one_class[ratio] = sum(len(label[label != 255].unique()) < 2 for label in labels)
    assert one_class[0.99] == 0
    assert one_class[1] > 0


def test_first_class_is_drawn_with_its_probability(files):
    sampling = build_dataset(files.pairs(rare_class_sampling=SAMPLING)).rare_class_sampling
    rng = np.random.default_rng(0)
    drawn = Counter(sampling.draw_class(rng) for _ in range(4000))
    counts = np.array([drawn[c] for c in sampling.classes])
    deviation = np.sqrt(4000 * sampling.probabilities * (1 - sampling.probabilities))
    assert (np.abs(counts - 4000 * sampling.probabilities) < 5 * deviation).all()


def test_source_sample_without_rare_classes_is_uniform(files):
    pairs = build_dataset(files.pairs())
    drawn = Counter(
        pairs.source_sample(np.random.default_rng(n))["img_metas"]["ori_filename"]
        for n in range(200)
    )
    assert set(drawn) == {f"{i:05d}.png" for i in range(4)}
    assert max(drawn.values()) < 85


def test_synchronous_crop_cuts_one_window_from_everything(files):
    """Source and target are one file set here, so their windows must show the same pixels."""
    whole = [s for s in train_pipeline() if s["type"] not in ("RandomCrop", "Pad")]
    whole = [{**s, "prob": 0.0} if s["type"] == "RandomFlip" else s for s in whole]
    source = files.source(pipeline=whole)
    config = files.pairs(source=source, target=dict(source), sync_crop_size=(11, 13))
    pairs = build_dataset(config)
    windows = set()
    for n in range(5):
        pair = pairs.sample(5, np.random.default_rng(n))  # image 1 with image 1
        assert pair["img"].shape == (3, 11, 13)
        assert torch.equal(pair["img"], pair["target_img"])
        assert torch.equal(pair["depth"], pair["target_depth"])
        assert pair["gt_semantic_seg"].shape == (1, 11, 13)
        assert pair["img_metas"]["img_shape"] == (11, 13, 3)
        windows.add(float(pair["img"].sum()))
    assert len(windows) > 1


def test_missing_statistics_name_the_command_that_makes_them(files):
    for name in ("sample_class_stats.json", "samples_with_class.json"):
        kept = (files.gta / name).read_text()
        (files.gta / name).unlink()
        with pytest.raises(
            FileNotFoundError,
            match=rf"'.*{name}', got no such file. Make the statistics with: "
            r"python tools/convert_datasets/gta.py .*/gta --nproc 8",
        ):
            build_dataset(files.pairs(rare_class_sampling=SAMPLING))
        (files.gta / name).write_text("[")
        with pytest.raises(ValueError, match=f"{name}', got a broken file"):
            build_dataset(files.pairs(rare_class_sampling=SAMPLING))
        (files.gta / name).write_text("[]")
        with pytest.raises(ValueError, match=f"{name}', got an empty list"):
            build_dataset(files.pairs(rare_class_sampling=SAMPLING))
        (files.gta / name).write_text(kept)


def test_class_that_no_image_holds_is_an_error(files):
    with pytest.raises(ValueError, match=r"more than 9999 pixels of class \d+, got none.*Lower"):
        build_dataset(files.pairs(rare_class_sampling={**SAMPLING, "min_pixels": 9999}))


def statistics(files) -> list[dict]:
    return json.loads((files.gta / "sample_class_stats.json").read_text())


def absent(train_id: str) -> dict:
    """Return the statistics of a label that has no image."""
    return {train_id: 50, "file": "gta/labels/77777_labelTrainIds.png"}


REMAKE = r"Make the statistics with: python tools/convert_datasets/gta.py .*/gta --nproc 8"
FOREIGN = {
    "other files": (
        lambda f: f.write_statistics([absent("0")]),
        r"'.*gta/samples_with_class.json' to list labels of this dataset, such as '00000_labe.*', "
        rf"got other files only, such as 'gta/labels/77777_labelTrainIds.png'. {REMAKE}",
    ),
    "label ids": (
        lambda f: f.write_statistics([*statistics(f), {"26": 90, "file": "a.png"}]),
        rf"the classes 0…18 in the class statistics .*, got class 26. {REMAKE}",
    ),
    "exchanged files": (
        lambda f: shutil.copy(f.gta / "samples_with_class.json", f.gta / "sample_class_stats.json"),
        rf"'.*sample_class_stats.json', got JSON that no converter wrote. {REMAKE}",
    ),
    "no counts": (
        lambda f: (f.gta / "samples_with_class.json").write_text('{"0": [["a.png", "many"]]}'),
        rf"'.*samples_with_class.json', got JSON that no converter wrote. {REMAKE}",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_statistics_of_something_else_are_an_error(files, case):
    spoil, message = FOREIGN[case]
    spoil(files)
    with pytest.raises(ValueError, match=message):
        build_dataset(files.pairs(rare_class_sampling=SAMPLING))


def test_statistics_may_list_more_files_than_the_data_set(files):
    """As with a split of it."""
    config = files.pairs(rare_class_sampling=SAMPLING)
    expected = build_dataset(config).rare_class_sampling.candidates
    files.write_statistics([*statistics(files), absent("0")])
    assert build_dataset(config).rare_class_sampling.candidates == expected


def test_class_of_absent_images_alone_names_their_labels(files):
    """The converter counts labels, so making the statistics again would change nothing."""
    files.write_statistics([*statistics(files), absent("7")])
    message = (
        r"pixels of class 7, got none: the class statistics list 1 labels that hold it, such as "
        r"'gta/labels/77777_.*', and all of their images are missing in '.*gta/images'. Put "
        rf"these images back, or move their labels to another folder first. {REMAKE}"
    )
    with pytest.raises(ValueError, match=message):
        build_dataset(files.pairs(rare_class_sampling=SAMPLING))


def test_window_larger_than_the_samples_is_an_error_that_names_it(files):
    pairs = build_dataset(files.pairs(sync_crop_size=(18, 23)))
    sizes = r"sync_crop_size = \(18, 23\) pixels, got \(18, 22\) for '.*images/0000\d.png'. Lower"
    with pytest.raises(ValueError, match=sizes):
        pairs[0]
    assert build_dataset(files.pairs(sync_crop_size=(18, 22)))[0]["img"].shape == (3, 18, 22)


@pytest.mark.parametrize("crop", [(34, 22), (18, 50), (34, 50)])
def test_image_smaller_than_the_crop_is_padded_in_that_dimension_alone(files, crop):
    """The image has 30 x 46 pixels. What is padded is ignored everywhere."""
    pairs = build_dataset(files.pairs(source=files.source(pipeline=train_pipeline(crop=crop))))
    sample = pairs.source_sample(np.random.default_rng(0))
    height, width = min(crop[0], 30), min(crop[1], 46)
    assert tuple(sample["img"].shape) == (3, *crop)
    assert sample["img_metas"]["img_shape"] == (height, width, 3)
    assert tuple(sample["img_metas"]["pad_shape"]) == (*crop, 3)
    for key, value in (("gt_semantic_seg", 255), ("depth", 255), ("img", 0)):
        padded = sample[key].clone().reshape(-1, *crop)
        padded[:, :height, :width] = value
        assert (padded == value).all(), key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rare_class_sampling": {**SAMPLING, "clas_temp": 1}}, "did you mean 'class_temp'"),
        ({"rare_class_sampling": {"min_pixels": 3}}, "sampling needs the key 'class_temp'"),
        ({"rare_class_sampling": {**SAMPLING, "tries": 0}}, "tries .*at least 1, got 0"),
        ({"rare_class_sampling": {**SAMPLING, "cat_max_ratio": 0}}, "cat_max_ratio .*above 0, got"),
        ({"rare_class_sampling": {**SAMPLING, "cat_max_ratio": 2}}, "cat_max_ratio .*at most 1, g"),
        ({"sync_crop_sise": (3, 4)}, "did you mean 'sync_crop_size'"),
    ],
)
def test_misspelt_option_suggests_the_nearest(files, options, message):
    with pytest.raises(ConfigError, match=message):
        build_dataset(files.pairs(**options))


def test_pairs_are_not_test_data(files):
    with pytest.raises(ConfigError, match="for training, got it as val or test"):
        build_dataset(files.pairs(), test_mode=True)
