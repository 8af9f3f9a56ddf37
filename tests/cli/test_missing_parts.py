"""Everything that a run reads is missed when it is not there, each thing by its path."""

import shutil
from pathlib import Path

import pytest
import small_runs

from mmseg.apis.missing_parts import missing_parts
from mmseg.config import Config
from mmseg.system.weight_table import NAMED

SAMPLING = {"min_pixels": 1, "class_temp": 0.1, "min_crop_ratio": 0.5}
STATISTICS = ("source/sample_class_stats.json", "source/samples_with_class.json")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    for name in (*STATISTICS, "start.pth"):
        (root / name).touch()
    return root


@pytest.fixture
def cfg(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A config of CDDA with rare class sampling, whose material lies here."""
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    cfg = Config(small_runs.config(Path(), "cdda"))
    cfg.merge_options({"data.train.rare_class_sampling": SAMPLING, "load_from": "start.pth"})
    return cfg


def names(cfg: Config, **how: bool) -> list[str]:
    return [one.short for one in missing_parts(cfg, **how)]


@pytest.mark.parametrize(
    "path",
    [
        "source",
        "source/images",
        "source/labels",
        *STATISTICS,
        "target",
        "target/leftImg8bit/train",
        "target/depth/train",
        "target/leftImg8bit/val",
        "target/gtFine/val",
        "mit_b0.pth",
        "start.pth",
        f"crops/gta_{small_runs.CROPS}_distribution.pth",
        "crops/images",
        "crops/labels",
    ],
)
def test_what_is_gone_is_missed(path: str, cfg: Config) -> None:
    assert not missing_parts(cfg)
    shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    (missing,) = missing_parts(cfg)
    assert missing.short == path
    assert f" at '{path}' (" in missing.sentence
    assert missing.sentence.endswith(", or correct the key.")


def test_what_is_not_read_is_not_missed(cfg: Config) -> None:
    shutil.rmtree("target/gtFine/train")
    assert not names(cfg)
    shutil.rmtree("target/gtFine/val")
    Path("start.pth").unlink()
    assert names(cfg) == ["target/gtFine/val", "start.pth"]
    assert names(cfg, validates=False) == ["start.pth"]
    assert names(cfg, goes_on=True) == ["target/gtFine/val"]


def test_statistics_are_counted_where_no_converter_has_left_any(cfg: Config) -> None:
    for file in STATISTICS:
        Path(file).unlink()
    assert not names(cfg)


def test_methods_without_depth_miss_no_maps(cfg: Config) -> None:
    shutil.rmtree("target/depth")
    assert names(cfg) == ["target/depth/train"]
    cfg.merge_options({"uda.matrix_path": None})
    assert not names(cfg)


def test_an_archive_of_acdc_counts_as_the_folder_that_it_stands_for(cfg: Config) -> None:
    target = cfg.data.train.target
    target.update(type="ACDCDataset", img_dir="rgb_anon/train", dep_dir=None)
    assert names(cfg) == ["target/rgb_anon/train"]
    Path("target/rgb_anon/fog/train/SEQ").mkdir(parents=True)
    assert not names(cfg)


def test_weights_with_a_name_are_missed_by_their_file(cfg: Config) -> None:
    for name in ("open-mmlab://resnet50_v1c", "open-mmlab://unknown"):
        cfg.merge_options({"model.pretrained": name})
        file = f"pretrained/{NAMED[name]}" if name in NAMED else name
        assert names(cfg) == [file]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"uda.type": "DACSS"}, "DACSS"),
        ({"uda.alfa": 1}, "alfa"),
        ({"optimizer.type": "Adamm"}, "Adamm"),
        ({"model.pretrained": None}, "imnet_feature_dist_lambda"),
    ],
)
def test_a_config_that_cannot_be_trained_is_all_that_is_said(
    options: dict[str, object], words: str, cfg: Config
) -> None:
    cfg.merge_options(options)
    (missing,) = missing_parts(cfg)
    assert words in missing.sentence
    assert len(missing.short) <= 90
