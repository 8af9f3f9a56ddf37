"""Which depth maps crops and statistics are of: noted, compared, and warned about."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_crops import contents, make_dataset, pipeline, run

from mmseg.config import Config
from mmseg.datasets import SynthiaDataset, build_dataset
from mmseg.datasets.depth.fit import crop_warnings, training_warnings
from mmseg.datasets.depth.record import DepthRecord, recipe_hash
from mmseg.system.errors import ConfigError

SMALL = DepthRecord({"source": "model", "weights_sha256": "12" * 32}, {"model": "small"})
LARGE = DepthRecord({"source": "model", "weights_sha256": "34" * 32}, {"model": "large"})
NUM = 3


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    """Source and target with the right way round, five images each, no record."""
    sides = {}
    for name in ("source", "target"):
        root = tmp_path / name
        make_dataset(root)
        for path in (root / "depth_any").iterdir():
            rows = np.arange(30, dtype=np.uint8)[:, None]
            Image.fromarray(np.tile(8 * rows, 48)).save(path)
        sides[name] = {
            "type": "GTADataset",
            "data_root": str(root),
            "img_dir": "images",
            "ann_dir": "labels",
            "dep_dir": str(root / "depth_any"),
            "pipeline": pipeline(),
        }
    crops = tmp_path / "crops"
    uda = {
        "matrix_path": str(crops / f"gta_{NUM}_distribution.pth"),
        "croped_images_path": str(crops / "images"),
    }
    train = {"type": "UDADataset", **sides}
    return Config({"data": {"train": train}, "uda": uda}, filename="tiny.py")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source/depth_any"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target/depth_any"


def draw(cfg: Config, crops: Path, **options: object) -> list[str]:
    """Run the preprocessing and return its warnings."""
    lines: list[str] = []
    run(cfg, crops, lines, num=NUM, **options)
    return [line for line in lines if line.startswith("Warning: ")]


def settings(crops: Path) -> dict[str, object]:
    return json.loads((crops / "preprocessing.json").read_text())


def in_training(cfg: Config) -> list[str]:
    return training_warnings(cfg.get("uda"), build_dataset(cfg.data.train))


def test_good_data_gives_no_warning_whether_its_maps_have_a_record_or_not(
    cfg: Config, tmp_path: Path, source: Path, target: Path
) -> None:
    crops = tmp_path / "crops"
    assert draw(cfg, crops) == in_training(cfg) == []
    assert settings(crops)["depth_recipe"] is None
    shutil.rmtree(crops)
    SMALL.write(source)
    SMALL.write(target)
    assert draw(cfg, crops) == in_training(cfg) == []
    assert settings(crops)["depth_recipe"] == recipe_hash(SMALL)


def test_preprocessing_and_training_warn_of_maps_made_differently_and_turned_over(
    cfg: Config, tmp_path: Path, source: Path, target: Path
) -> None:
    SMALL.write(source)
    LARGE.write(target.parent)  # one folder above counts, too
    for path in target.glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)
    differently, inverted = in_training(cfg)
    hashes = "'121212121212…' and '343434343434…'"
    assert f"made differently: weights_sha256: {hashes}" in differently
    assert f"The depth maps in '{target}' look inverted: in 5 of 5" in inverted
    said = draw(cfg, tmp_path / "crops")
    assert said == [f"Warning: {differently}", f"Warning: {inverted}"]
    assert settings(tmp_path / "crops")["depth_recipe"] == recipe_hash(SMALL)


@pytest.mark.parametrize(("then", "now"), [(SMALL, LARGE), (None, SMALL), (SMALL, None)])
def test_crops_of_other_maps_are_not_continued_and_training_warns(
    then: DepthRecord | None,
    now: DepthRecord | None,
    cfg: Config,
    tmp_path: Path,
    source: Path,
    target: Path,
) -> None:
    crops = tmp_path / "crops"
    for record in (then, now):
        for folder in (source, target):
            (folder / "depth.json").unlink(missing_ok=True)
            if record is not None:
                record.write(folder)
        if record is then:
            assert draw(cfg, crops) == []
    hashes = [recipe_hash(record) for record in (then, now)]
    with pytest.raises(ValueError, match=f"hold crops with depth_recipe = .*{hashes[1]}.*got"):
        draw(cfg, crops)
    (warning,) = in_training(cfg)
    names = ["unknown" if value is None else value for value in hashes]
    assert warning == (
        f"The crops or statistics in '{crops}' were made from other depth maps than those in "
        f"'{source}': the recipe in depth.json was {names[0]} and is now {names[1]}. Delete that "
        "folder and run run_seg.py again."
    )
    assert draw(cfg, crops, draws_crops=False) == [f"Warning: {warning}"]


def test_crops_of_earlier_versions_are_continued_and_stay_as_they_are(
    cfg: Config, tmp_path: Path, source: Path, target: Path
) -> None:
    """Their settings do not name the maps. What is drawn now need not be of the same maps."""
    crops = tmp_path / "crops"
    draw(cfg, crops)
    whole = contents(crops)
    old = {key: value for key, value in settings(crops).items() if key != "depth_recipe"}
    (crops / "preprocessing.json").write_text(json.dumps(old))
    (crops / "depth/2.png").unlink()
    for folder in (source, target):
        LARGE.write(folder)
    assert in_training(cfg) == []
    assert draw(cfg, crops) == in_training(cfg) == []
    assert settings(crops) == old
    assert {**contents(crops), "preprocessing.json": b""} == {**whole, "preprocessing.json": b""}


def test_an_emptied_folder_gets_the_settings_of_its_new_crops(
    cfg: Config, tmp_path: Path, source: Path
) -> None:
    crops = tmp_path / "crops"
    draw(cfg, crops)
    for part in ("images", "labels", "depth"):
        shutil.rmtree(crops / part)
    LARGE.write(source)
    draw(cfg, crops)
    assert settings(crops)["depth_recipe"] == recipe_hash(LARGE)


def test_bank_and_crops_are_compared_wherever_they_are(
    cfg: Config, tmp_path: Path, source: Path, target: Path
) -> None:
    """Both folders are of other maps, once each; without CDDA neither counts."""
    for folder in (source, target):
        LARGE.write(folder)
    for name in ("bank", "crops"):
        (tmp_path / name).mkdir()
        text = json.dumps({"depth_recipe": recipe_hash(SMALL)})
        (tmp_path / name / "preprocessing.json").write_text(text)
    assert len(in_training(cfg)) == 1
    cfg.uda.matrix_path = str(tmp_path / "bank/gta_3_distribution.pth")
    found = in_training(cfg)
    assert [f"in '{tmp_path / name}' were made" in line for name, line in zip(
        ("bank", "crops"), found, strict=True
    )] == [True, True]  # fmt: skip
    cfg.uda.matrix_path = None
    assert in_training(cfg) == []
    cfg.pop("uda")
    assert in_training(cfg) == []


def test_unreadable_notes_are_warnings_in_training(cfg: Config, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    (crops / "preprocessing.json").write_text("{")
    (warning,) = in_training(cfg)
    assert warning.startswith(f"The depth of the crops in '{crops}' is unknown: expected")
    assert crop_warnings([crops], None) == crop_warnings([tmp_path], tmp_path) == []


def test_preprocessing_without_dep_dir_names_the_command_with_the_real_folders(
    cfg: Config, tmp_path: Path
) -> None:
    """For a known layout, a class without one, a class itself and a type that does not exist."""
    section = cfg.data.train.source
    section.pop("dep_dir")
    root = tmp_path / "source"
    layouts = {"GTADataset": " --layout gta", "ACDCDataset": "", "NoSuchDataset": ""}
    layouts |= {SynthiaDataset: " --layout synthia"}
    for kind, layout in layouts.items():
        section["type"] = kind
        with pytest.raises(ConfigError) as raised:
            draw(cfg, tmp_path / "crops")
        assert str(raised.value) == (
            "tiny.py: expected data.train.source.dep_dir, got none. Set it to the folder with the "
            f"depth maps of the source images, such as '{root}/depth_any'. Make them with: "
            f"python tools/make_depth.py {root}/images --out {root}/depth_any{layout} --model small"
        )
