"""A training says, once and at its start, what looks wrong in the depth that it reads."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import small_runs
from tiny_run import HEIGHT, WIDTH

from mmseg.apis import train
from mmseg.config import Config
from mmseg.datasets.depth import inspection
from mmseg.datasets.depth.record import DepthRecord
from mmseg.datasets.image_files import read_unchanged, write_label
from mmseg.models import build_train_model
from mmseg.system import processes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Material of a CDDA run: maps of two recipes, the target's turned over, crops of a third."""
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    street = np.tile(np.linspace(0, 255, HEIGHT).astype(np.uint8)[:, None], WIDTH)
    for number in range(3):
        write_label(root / f"source/depth/{number:05d}.png", street)
    for path in sorted((root / "target/depth").rglob("*.png")):
        assert read_unchanged(path).shape == street.shape
        assert cv2.imwrite(str(path), street[::-1])
    DepthRecord({"model": 1}, {}).write(root / "source/depth")
    DepthRecord({"model": 2}, {}).write(root / "target/depth")
    (root / "crops/preprocessing.json").write_text(json.dumps({"depth_recipe": "of a third"}))
    return root


def log_of_one_iteration(root: Path, work_dir: Path) -> list[str]:
    """Train and return the lines of the log."""
    values = small_runs.config(root, "cdda", runner={"max_iters": 1})
    values["data"]["train"]["source"]["dep_dir"] = str(root / "source/depth")
    train.run_training(Config(values), train.TrainOptions(str(work_dir), validate=False))
    (log,) = work_dir.glob("*.log")
    return log.read_text(encoding="utf-8").splitlines()


def test_the_log_of_a_training_holds_every_warning_once_before_the_first_iteration(
    root: Path, tmp_path: Path
) -> None:
    lines = log_of_one_iteration(root, tmp_path)
    warnings = [line for line in lines if "WARNING" in line and "epth maps" in line]
    assert len(warnings) == 3
    assert f"source ('{root}/source/depth') and target" in warnings[0]
    assert "were made differently: model: 1 and 2." in warnings[0]
    assert f"'{root}/target/depth/train' look inverted: in 2 of 2" in warnings[1]
    assert f"statistics in '{root}/crops' were made from other depth maps" in warnings[2]
    first = next(number for number, line in enumerate(lines) if "[1/1]" in line)
    assert max(lines.index(line) for line in warnings) < first


@pytest.mark.parametrize("method", ["source_only", "daformer"])
def test_methods_without_depth_train_where_no_maps_are(
    root: Path, tmp_path: Path, method: str
) -> None:
    """The config names a folder of maps, as those of CDDA do."""
    values = small_runs.config(root, method, runner={"max_iters": 1})
    values["data"]["train"]["target"]["dep_dir"] = str(root / "nowhere")
    train.run_training(Config(values), train.TrainOptions(str(tmp_path), validate=False))
    values = small_runs.config(root, "cdda")
    values["data"]["train"]["target"]["dep_dir"] = str(root / "nowhere")
    with pytest.raises(FileNotFoundError, match="expected a depth map for every image"):
        train.run_training(Config(values), train.TrainOptions(str(tmp_path / "cdda")))


@pytest.mark.parametrize("dataset", [None, "GTA"])
def test_the_source_names_the_dataset_of_the_statistics(root: Path, dataset: str | None) -> None:
    values = small_runs.config(root, "cdda")
    values["uda"]["dataset"] = dataset
    settings = build_train_model(Config(values)).settings
    assert settings.dataset == (dataset or "gta")


def test_only_the_first_process_looks_at_the_maps(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process sees it, which does not say what it says to all."""

    def fail(path: Path) -> None:
        pytest.fail(f"looked at {path}")

    monkeypatch.setattr(inspection, "read_unchanged", fail)
    other = SimpleNamespace(**{**vars(processes), "is_main": lambda: False})
    monkeypatch.setattr(train, "processes", other)
    lines = log_of_one_iteration(root, tmp_path)
    assert not [line for line in lines if "WARNING" in line and "epth maps" in line]
    assert (tmp_path / "latest.pth").is_file()
