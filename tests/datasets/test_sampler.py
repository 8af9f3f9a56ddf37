"""A label that is drawn alone is the one that a whole sample would have, and saves its image."""

from itertools import chain, combinations

import numpy as np
import pytest
from tiny_data import train_pipeline

from mmseg.datasets import build_dataset
from mmseg.datasets.lookup import look_up, pixel_counts
from mmseg.datasets.pipelines import Compose, Normalize, start_results

SHAPE = (23, 37)
STEPS = (
    {"type": "Resize", "img_scale": (60, 40), "ratio_range": (0.5, 1.5)},
    {"type": "Resize", "short_side": 19, "ratio_range": (0.9, 1.1)},
    {"type": "Pad", "size": (29, 31)},
    {"type": "RandomCrop", "crop_size": (13, 17), "cat_max_ratio": 0.3},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
    {"type": "Normalize", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
    {"type": "DefaultFormatBundle"},
)
SUBSETS = list(chain.from_iterable(combinations(range(len(STEPS)), n) for n in range(len(STEPS))))


def read_sample() -> dict:
    rng = np.random.default_rng(1)
    return {
        **start_results(rng.integers(0, 256, (*SHAPE, 3), np.uint8), "x.png"),
        "gt_semantic_seg": rng.integers(0, 9, SHAPE, np.uint8),
        "valid_pseudo_mask": np.ones(SHAPE, np.uint8),
        "depth": rng.random(SHAPE, np.float32),
        "seg_fields": ["valid_pseudo_mask", "gt_semantic_seg"],
    }


def test_the_label_alone_is_that_of_the_sample_after_as_many_random_numbers():
    """All 255 pipelines that leave out one of eight steps or more, in their order."""
    for number, subset in enumerate(SUBSETS):
        steps = Compose([STEPS[place] for place in subset])
        one, other = (np.random.default_rng(number) for _ in range(2))
        assert steps.draws_labels
        whole = steps({**read_sample(), "rng": one})["gt_semantic_seg"]
        alone = steps.drawn_label(steps.fixed({**read_sample(), "rng": other}))
        np.testing.assert_array_equal(np.squeeze(whole), np.squeeze(alone), str(subset))
        assert one.bit_generator.state == other.bit_generator.state, subset


class Darken:
    """A step of one's own."""

    def __call__(self, results):
        return {**results, "img": results["img"] // 2}


def drawn(dataset, accepts, tries, seed):
    rng = np.random.default_rng(seed)
    sample = dataset.sampler(1).accepted(accepts, tries, rng)
    return {k: v for k, v in sample.items() if "meta" not in k}, rng.bit_generator.state


def test_accepted_samples_are_those_of_whole_draws(files, monkeypatch):
    """The same with a step of one's own, for which every sample is drawn as a whole."""
    dataset = build_dataset(files.source(pipeline=train_pipeline(crop=(8, 10))))

    def accepts(label):
        return int((np.asarray(label) == 0).sum()) > 40

    found = [drawn(dataset, accepts, tries, seed) for tries in (0, 1, 5) for seed in range(12)]
    monkeypatch.setattr(dataset.pipeline, "draws_labels", False)
    expected = [drawn(dataset, accepts, tries, seed) for tries in (0, 1, 5) for seed in range(12)]
    for (sample, state), (whole, state_after) in zip(found, expected, strict=True):
        assert state == state_after
        assert sample.keys() == whole.keys()
        for key in sample:
            np.testing.assert_array_equal(sample[key], whole[key])
    assert not Compose([*dataset.pipeline.steps, Darken()]).draws_labels


def test_images_of_refused_crops_are_not_computed(files, monkeypatch):
    dataset = build_dataset(files.source(pipeline=train_pipeline(crop=(8, 10))))
    calls, looks = [], []
    monkeypatch.setattr(Normalize, "_normalize", lambda self, image: calls.append(1) or image)
    drawn(dataset, looks.append, 7, 0)  # which accepts nothing
    assert (len(looks), len(calls)) == (7, 1)


@pytest.mark.parametrize("to_rgb", [True, False])
def test_8_bit_pixels_are_normalized_as_they_are_computed(to_rgb):
    """Bit by bit: tables of values instead of arithmetic, planes instead of pixels."""
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
    step = Normalize([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], to_rgb)
    for part in (image, image[3:20, 5:30], np.flip(image, 1)):
        assert step._normalize(part).tobytes() == step._compute(part).tobytes()


@pytest.mark.parametrize("shape", [(), (6,), (0, 5), (5, 7), (5, 7, 3), (5, 7, 4), (2, 5, 7)])
def test_tables_and_counts_are_those_of_numpy(shape):
    rng = np.random.default_rng(2)
    values, table = rng.integers(0, 256, shape, np.uint8), rng.random(256, np.float32)
    np.testing.assert_array_equal(look_up(table, values), table[values])
    counts = np.bincount(values.ravel(), minlength=256)
    np.testing.assert_array_equal(pixel_counts(values), counts)
    np.testing.assert_array_equal(pixel_counts(values.astype(np.int64)), counts)
