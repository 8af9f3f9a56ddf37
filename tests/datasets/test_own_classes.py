"""`classes=` and `palette=` of every dataset type, in the place of the type's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_data import make_pipeline_test, write_png

from mmseg.apis.dataset_sections import classes_and_palette
from mmseg.apis.prediction_files import PredictionFiles
from mmseg.config.sections import DataConfig
from mmseg.datasets import DATASETS, CustomDataset, build_dataset
from mmseg.datasets.labels import CLASSES, PALETTE, distinct_colors
from mmseg.engine.evaluator import Evaluator
from mmseg.system.errors import ConfigError

KINDS = ("ACDC", "Cityscapes", "Custom", "DarkZurich", "Folder", "GTA", "Synthia")
NAMES = ["sky", "box", "ball"]
COLORS = [[60, 120, 200], [1, 2, 3], [30, 200, 31]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, with the train ids 0 to 2 and what is ignored."""
    for number in range(2):
        write_png(tmp_path / f"images/{number}.png", np.full((5, 7, 3), 90 + number, np.uint8))
        label = np.arange(35).reshape(5, 7) % 4
        write_png(tmp_path / f"labels/{number}.png", np.where(label == 3, 255, label).astype("u1"))
    return tmp_path


def build(folder: Path, kind: str = "Custom", **options) -> CustomDataset:
    section = {
        "type": f"{kind}Dataset",
        "data_root": str(folder),
        "img_dir": "images",
        "ann_dir": "labels",
        "img_suffix": ".png",
        "seg_map_suffix": ".png",
        "pipeline": make_pipeline_test(),
    }
    return build_dataset({**section, **options}, test_mode=True)


def test_these_are_all_types() -> None:
    own = {f"{kind}Dataset" for kind in KINDS}
    assert own == {
        name
        for name in DATASETS.names()
        if isinstance(cls := DATASETS.get(name), type)
        and issubclass(cls, CustomDataset)
        and cls.__module__.startswith("mmseg.")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_colors_replace_those_of_the_type(folder: Path, kind: str) -> None:
    before = type(build(folder, kind)).CLASSES
    dataset = build(folder, kind, classes=NAMES, palette=COLORS)
    assert (tuple(NAMES), COLORS) == (dataset.CLASSES, dataset.PALETTE)
    assert before == type(dataset).CLASSES
    result = dataset.evaluate([dataset.gt_label(i) for i in range(2)])
    assert [key for key in result if key.startswith("IoU.")] == [f"IoU.{n}" for n in NAMES]
    write_png(folder / "labels/1.png", np.full((5, 7), 3, np.uint8))
    with pytest.raises(ValueError, match=r"expected .* ids .*labels/1\.png', got 3"):
        dataset.gt_label(1)


@pytest.mark.parametrize("kind", KINDS)
def test_colors_without_a_palette(folder: Path, kind: str) -> None:
    """The type's own for as many classes, other ones for more or fewer."""
    usual = PALETTE if kind not in ("Custom", "Folder") else distinct_colors(19)
    renamed = [f"my {name}" for name in CLASSES]
    assert usual == build(folder, kind, classes=renamed).PALETTE
    assert distinct_colors(3) == build(folder, kind, classes=NAMES).PALETTE
    section = {"type": f"{kind}Dataset", "classes": NAMES}
    assert classes_and_palette(DataConfig(test=section)) == (tuple(NAMES), distinct_colors(3))


def test_distinct_colors_are_distinct_and_not_black() -> None:
    colors = {tuple(color) for color in [*distinct_colors(255), [0, 0, 0]]}
    assert len(colors) == 256


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"classes": ["a", "b", "a"]}, ValueError, "different names, got 'a' twice. Rename"),
        ({"classes": NAMES, "palette": COLORS[:2]}, ValueError, "palette of 3 colors.* got 2"),
        ({"palette": COLORS}, ValueError, "palette of 0 colors.* got 3"),
        ({"classes": "names.txt"}, ConfigError, "classes of .*: expected a list, got 'names.txt'"),
        ({"classes": []}, ConfigError, "expected a list of at least 1"),
        ({"classes": ["a", ""]}, ConfigError, "expected a string that is not empty"),
        ({"classes": ["a"], "palette": [[1, 2]]}, ConfigError, "expected a list of at least 3"),
        ({"classes": ["a"], "palette": [[1, 2, 256]]}, ConfigError, "a number of at most 255"),
    ],
)
def test_names_and_colors_that_do_not_go_together(folder, options, error, words) -> None:
    with pytest.raises(error, match=words):
        build(folder, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_label_ids_of_a_test_server_need_its_classes(folder: Path, kind: str) -> None:
    dataset = build(folder, kind, classes=NAMES, palette=COLORS)
    label, out = np.full((5, 7), 2), folder / "out"
    if dataset.ID_PALETTE is None:
        (file,) = dataset.format_results([label], out, indices=[0])
        assert Image.open(file).getpalette()[:9] == sum(COLORS, [])
        return
    with pytest.raises(ValueError, match="19 classes of .*, got 3. Add .* to_label_id=False"):
        dataset.format_results([label], out, indices=[0])
    assert not out.exists()
    (file,) = dataset.format_results([label], out, to_label_id=False, indices=[0])
    assert (np.asarray(Image.open(file)) == 2).all()


@pytest.mark.parametrize("opacity", [1.0, 0.25])
def test_predictions_are_painted_in_the_colors_of_the_dataset(folder: Path, opacity: float) -> None:
    """Without classes, in those of the network."""
    for name, options in (("own", {"classes": NAMES, "palette": COLORS}), ("none", {})):
        shown = PredictionFiles(
            build(folder, **options), str(folder / name), opacity, palette=COLORS[::-1]
        )
        shown.take(1, np.full((5, 7), 2))
        (file,) = (folder / name).rglob("*.png")
        color = np.array(COLORS[2] if name == "own" else COLORS[0])
        expected = np.rint(opacity * color + (1 - opacity) * 91)
        assert (np.asarray(Image.open(file).convert("RGB")) == expected).all()


def test_without_classes_nothing_can_be_evaluated(folder: Path) -> None:
    dataset = build(folder)
    words = r"classes of the CustomDataset of '.*images', got none. Set classes=\[…\]"
    with pytest.raises(ValueError, match=words):
        Evaluator(dataset)
    with pytest.raises(ValueError, match=words):
        dataset.evaluate([])
    assert dataset[0]["img"][0].shape[0] == 3


def test_means_over_a_part_of_19_classes_are_for_these_alone(folder: Path) -> None:
    assert not Evaluator(build(folder, classes=NAMES), with_subsets=True).with_subsets
    assert Evaluator(build(folder, "Synthia"), with_subsets=True).with_subsets
