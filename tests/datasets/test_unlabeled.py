"""A target needs no labels; a source, or a set to evaluate on, needs a labeled pixel."""

import shutil

import numpy as np
import pytest
import torch
from tiny_data import HEIGHT, WIDTH, train_pipeline, write_png
from torch import nn

from mmseg.config import training_steps
from mmseg.datasets import PIPELINES, build_dataset
from mmseg.engine.evaluator import Evaluator
from mmseg.preprocessing.crops import draw_crop
from mmseg.system.errors import ConfigError

NORM = {"mean": [1, 2, 3], "std": [4, 5, 6]}
UNLABELED = training_steps((46, 30), (18, 22), NORM, labeled=False)
VARIED = train_pipeline(cat_max_ratio=0.75)


def draw(pairs) -> list[dict]:
    return [pairs.sample(n % len(pairs), np.random.default_rng(n)) for n in range(5)]


def are_same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key])
        for key, value in first.items()
        if isinstance(value, torch.Tensor)
    )


def test_steps_for_unlabeled_images_read_and_collect_no_label() -> None:
    assert "LoadAnnotations" not in [step["type"] for step in UNLABELED]
    assert UNLABELED[-1] == {"type": "Collect", "keys": ["img"]}
    labeled = training_steps((46, 30), (18, 22), NORM)
    assert [s for s in labeled[:-1] if s["type"] != "LoadAnnotations"] == UNLABELED[:-1]


@pytest.mark.parametrize("without", ["files", "ann_dir", "ann_dir and step"])
def test_target_samples_are_the_same_without_labels(files, without) -> None:
    """With the pipeline of a labeled data set, such as the shipped ones."""
    expected = draw(build_dataset(files.pairs()))
    options = {} if without == "files" else {"ann_dir": None}
    if without == "ann_dir and step":
        options["pipeline"] = [s for s in train_pipeline() if s["type"] != "LoadAnnotations"]
    shutil.rmtree(files.cityscapes / "gtFine")
    found = draw(build_dataset(files.pairs(target=files.target(**options))))
    assert all(are_same(*both) for both in zip(expected, found, strict=True))


def test_target_may_name_no_classes(files) -> None:
    section = files.target(type="CustomDataset", img_suffix=".png", ann_dir=None, dep_dir=None)
    pairs = build_dataset(files.pairs(target=section))
    assert pairs.CLASSES == pairs.source.CLASSES
    other = {**section, "classes": ["a", "b"]}
    with pytest.raises(ConfigError, match=r"GTADataset and CustomDataset.* Set classes=\[…\]"):
        build_dataset(files.pairs(target=other))
    with pytest.raises(ConfigError, match=r"classes of the source, a CustomDataset, got none"):
        suffixes = {"img_suffix": ".png", "seg_map_suffix": "_labelTrainIds.png"}
        build_dataset(files.pairs(source=files.source(type="CustomDataset", **suffixes)))


def test_windows_that_are_chosen_by_the_targets_labels_stay_so(files) -> None:
    varied = files.pairs(target=files.target(pipeline=VARIED))
    steps = [type(step).__name__ for step in build_dataset(varied).target.pipeline.steps]
    assert "LoadAnnotations" in steps
    shutil.rmtree(files.cityscapes / "gtFine")
    with pytest.raises(FileNotFoundError, match="expected a label for every image"):
        build_dataset(varied)
    words = r"target: cat_max_ratio=0.75 of RandomCrop has no effect"
    with pytest.warns(UserWarning, match=words.replace("target: ", "")):
        pairs = build_dataset(files.pairs(target=files.target(pipeline=VARIED, ann_dir=None)))
    assert set(pairs[0]) >= {"target_img", "gt_semantic_seg"}


def test_steps_of_a_users_own_get_the_label(files) -> None:
    @PIPELINES.register("SeesLabel", force=True)
    def sees_label():
        return lambda results: {**results, "img": results["gt_semantic_seg"][None]}

    pipeline = [*train_pipeline()[:2], {"type": "SeesLabel"}, train_pipeline()[-1]]
    pipeline[-1] = {**pipeline[-1], "meta_keys": ["filename"]}
    pairs = build_dataset(files.pairs(target=files.target(pipeline=pipeline)))
    assert pairs[0]["target_img"].shape == (1, HEIGHT, WIDTH)


def test_a_window_cannot_be_chosen_by_a_label_that_is_not_there(files) -> None:
    steps = [step for step in VARIED if step["type"] != "LoadAnnotations"]
    dataset = build_dataset(files.source(pipeline=steps, ann_dir=None))
    with pytest.raises(ValueError, match=r"label at RandomCrop .* none for '.*00000\.png'. Put"):
        dataset[0]


def ignore_all(files, *kept: str) -> None:
    for file in (files.gta / "labels").iterdir():
        if file.stem.partition("_")[0] not in kept:
            write_png(file, np.full((HEIGHT, WIDTH), 255, np.uint8))


NOTHING = r"labels of GTADataset with pixels of a class in '.*gta/labels', got ignored pixels alone"


@pytest.mark.parametrize("way", ["alone", "paired", "run_seg"])
def test_a_source_without_a_labeled_pixel_is_refused_at_its_first_sample(files, way) -> None:
    ignore_all(files)
    dataset = build_dataset(files.source() if way == "alone" else files.pairs())
    with pytest.raises(ValueError, match=rf"{NOTHING} in all 4 labels. Make the labels with"):
        draw_crop(dataset, 0, 0) if way == "run_seg" else dataset[0]


def test_one_labeled_image_is_enough_and_a_target_needs_none(files) -> None:
    ignore_all(files, "00002")
    dataset = build_dataset(files.source())
    assert all((dataset[i]["gt_semantic_seg"] == 255).all() for i in (0, 1, 3))
    for file in (files.cityscapes / "gtFine").rglob("*.png"):
        write_png(file, np.full((HEIGHT, WIDTH), 255, np.uint8))
    assert draw(build_dataset(files.pairs(target=files.target(pipeline=VARIED))))


def test_many_labels_are_looked_at_in_part(files, monkeypatch) -> None:
    ignore_all(files, "00001")
    monkeypatch.setattr("mmseg.datasets.custom.LABELS_SEARCHED", 2)
    with pytest.raises(ValueError, match=f"{NOTHING} in 2 of 4 labels"):
        build_dataset(files.source()).require_labeled()
    ignore_all(files, "00002")


def test_labels_without_a_pixel_that_counts_cannot_be_evaluated(files) -> None:
    """Said before the first image, or, of more labels than are looked at, after the last."""
    ignore_all(files)
    dataset = build_dataset(files.source(), test_mode=True)
    with pytest.raises(ValueError, match=NOTHING):
        Evaluator(dataset)
    dataset.require_labeled = lambda: None
    evaluator = Evaluator(dataset)
    evaluator._count = lambda *_: False
    with pytest.raises(ValueError, match=r"'?.*images.* with pixels of a class, got ignored"):
        evaluator(nn.Identity())
