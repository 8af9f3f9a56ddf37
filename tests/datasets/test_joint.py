"""Several datasets as one: drawn together or by weight, each reported by its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_data import Files, make_pipeline_test, train_pipeline, write_png
from torch import nn

from mmseg.datasets import build_dataset
from mmseg.datasets.fingerprint import dataset_fingerprint
from mmseg.datasets.joint import joined
from mmseg.engine.evaluator import Evaluator
from mmseg.system.errors import ConfigError

SAMPLING = {"min_pixels": 1, "class_temp": 0.5, "min_crop_ratio": 0}
SIZE = (30, 46)
OWN = ("automobile", "shed", "mist")
NAMES = {"automobile": "car", "shed": "building", "mist": None}
MAP = {"to": "CityscapesDataset", "names": NAMES}


@pytest.fixture
def second(tmp_path: Path) -> dict[str, Any]:
    """A source of three classes with other names, in three images."""
    root = tmp_path / "second"
    for number in range(3):
        write_png(root / f"images/{number}.png", np.full((*SIZE, 3), 90 + number, np.uint8))
        label = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3
        write_png(root / f"labels/{number}.png", label.astype(np.uint8))
        write_png(root / f"depth/{number}.png", np.full(SIZE, 9, np.uint8))
    return {
        "type": "FolderDataset", "data_root": str(root), "img_dir": "images", "ann_dir": "labels",
        "dep_dir": str(root / "depth"), "classes": list(OWN), "class_map": MAP,
        "pipeline": train_pipeline(),
    }  # fmt: skip


def test_images_of_all_come_one_after_the_other(files: Files, second: dict[str, Any]) -> None:
    joint = build_dataset(joined([files.source(), second]))
    assert len(joint) == 4 + 3
    alone = [build_dataset(files.source()), build_dataset(second)]
    for index, (part, inner) in enumerate(
        [*((0, i) for i in range(4)), *((1, i) for i in range(3))]
    ):
        ours = joint.sample(index, np.random.default_rng(index))
        theirs = alone[part].sample(inner, np.random.default_rng(index))
        assert torch.equal(ours["img"], theirs["img"])
        assert torch.equal(ours["gt_semantic_seg"], theirs["gt_semantic_seg"])
        assert np.array_equal(joint.gt_label(index), alone[part].gt_label(inner))
    with pytest.raises(IndexError, match="below 7, got 7"):
        joint[7]
    assert list(dataset_fingerprint(joint)) == ["gta", "folder"]


def test_classes_are_mapped_by_name(second: dict[str, Any]) -> None:
    """automobile → car (13), shed → building (2), mist → ignored."""
    dataset = build_dataset(second)
    assert dataset.CLASSES[13] == "car"
    assert dataset.gt_label(0)[0, :4].tolist() == [13, 2, 255, 13]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            {"automobile": "car", "shed": "wall"},
            "a class of class_map.to for 'mist', got 'mist'",
        ),
        ({**NAMES, "automobile": "cat"}, "for 'automobile', got 'cat', which is none"),
        ({**NAMES, "autombile": "car"}, "as keys of class_map.names, got 'autombile'"),
    ],
)
def test_wrong_maps_are_named(names: Any, message: str, second: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=message):
        build_dataset({**second, "class_map": {**MAP, "names": names}})


@pytest.mark.parametrize("weights", [None, (3.0, 1.0)])
def test_weights_say_how_often_each_is_drawn_from(
    weights: tuple[float, float] | None, files: Files, second: dict[str, Any]
) -> None:
    """With rare classes, without, and for targets; without weights, each image counts the same."""
    sections = [files.source(), second]
    if weights:
        sections = [{**s, "weight": w} for s, w in zip(sections, weights, strict=True)]
    share = 3 / 4 if weights else 4 / 7
    pairs = build_dataset(files.pairs(source=sections, target=sections))
    names = [pairs.sample(0 if weights else i % 49, np.random.default_rng(i)) for i in range(490)]
    for key in ("img_metas", "target_img_metas"):
        first = np.mean(["second" not in sample[key]["filename"] for sample in names])
        assert first == pytest.approx(share, abs=0.07), key
    sampling = build_dataset(files.pairs(source=sections, rare_class_sampling=SAMPLING))
    rare = sampling.rare_class_sampling
    rng = np.random.default_rng(2)
    drawn = [rare.draw_image(2, rng) for _ in range(400)]  # buildings are in both
    candidates = np.array(rare.candidates[2])
    expected = share if weights else np.mean(candidates < 4)
    assert 0 < np.mean(candidates < 4) < 1
    assert np.mean(np.array(drawn) < 4) == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": 2.0}, "expected a weight for each of the 2 datasets of a list or for none"),
        ({"weight": -1.0}, "weight"),
        ({"class_map": None}, "expected the classes of the first dataset, GTADataset"),
        ({"dep_dir": None}, "expected dep_dir for all datasets of a list or for none"),
        ({"wieght": 1.0}, "unknown key 'wieght'"),
    ],
)
def test_wrong_lists_are_named(
    changes: dict[str, Any], message: str, files: Files, second: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_dataset(files.pairs(source=[files.source(), {**second, **changes}]))


class Cars(nn.Module):
    """Predicts cars everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward_test(self, images: list[torch.Tensor], metas: list[Any]) -> list[np.ndarray]:
        return [np.full(SIZE, 13, np.uint8)]


def test_each_val_set_is_reported_by_name_and_the_first_is_the_main_one(
    files: Files, second: dict[str, Any]
) -> None:
    """A third of the second's pixels are cars, and as many buildings: IoU 1/2 and 0."""
    first = {**files.target(name="city"), "pipeline": make_pipeline_test(), "dep_dir": None}
    second = {**second, "name": "wild", "pipeline": make_pipeline_test(), "dep_dir": None}
    alone = Evaluator(build_dataset({k: v for k, v in first.items() if k != "name"}, True))(Cars())
    both = Evaluator(build_dataset(joined([first, second]), True))(Cars())
    assert alone is not None and both is not None
    sets = both.record.pop("val_sets")
    assert both.record == alone.record
    assert both.score == alone.score
    assert list(sets) == ["city", "wild"]
    assert sets["city"]["mIoU"] == alone.record["mIoU"]
    assert (sets["wild"]["num_images"], sets["wild"]["IoU"]["car"]) == (3, 0.5)
    assert sets["wild"]["mIoU"] == 0.25
    assert both.summary["wild.mIoU"] == 0.25
