"""Two sources, two targets and two validation sets: trained, resumed exactly, on two processes."""

import copy
import json
from pathlib import Path
from typing import Any

import paired_runs
import pytest
import small_runs
import tiny_run
from paired_runs import END

from mmseg.apis.test import TestOptions, run_test
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config

NAMES = ["first", "second"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the runs of two processes; CDDA from GTA and SYNTHIA."""
    root = tmp_path_factory.mktemp("several")
    small_runs.write_material(root)
    values = config(root)
    values["data"]["samples_per_gpu"] = 1
    tiny_run.write_config(root / "several.py", values)
    paired_runs.run(root, {"several": (0,)})
    return root


def config(root: Path) -> dict[str, Any]:
    values = small_runs.config(root, "cdda", runner={"max_iters": END})
    values["model"]["backbone"] = backbone = small_runs.SMALL_BACKBONE
    values["model"]["decode_head"]["in_channels"] = backbone["embed_dims"]
    values["model"]["pretrained"] = str(root / "small.pth")
    train = values["data"]["train"]
    for domain, weights in (("source", (3.0, 1.0)), ("target", (1.0, 2.0))):
        pair = [copy.deepcopy(train[domain]) for _ in range(2)]
        train[domain] = [{**s, "weight": w} for s, w in zip(pair, weights, strict=True)]
    for key in ("val", "test"):
        values["data"][key] = [{**copy.deepcopy(values["data"][key]), "name": n} for n in NAMES]
    return values


def test_a_resumed_run_of_two_processes_is_the_uninterrupted_one(root: Path) -> None:
    whole, broken = root / "several/whole", root / "several/broken0"
    assert small_runs.differences(whole / "latest.pth", broken / "latest.pth") == []
    assert small_runs.logged(whole) == small_runs.logged(broken)
    first, second = (paired_runs.outcomes(root, rank, "several") for rank in (0, 1))
    assert first["whole"] == second["whole"] == first["0"][1] == second["0"][1]


def test_each_val_set_is_in_the_results_of_training_and_test(root: Path, tmp_path: Path) -> None:
    whole = root / "several/whole"
    trained = json.loads((whole / "results.json").read_text())
    assert list(trained["val_sets"]) == NAMES
    assert trained["val_sets"]["first"]["mIoU"] == trained["mIoU"]
    assert trained["num_images"] == trained["val_sets"]["second"]["num_images"] == 3
    options = TestOptions(
        str(root / "several.py"), str(whole / "latest.pth"), metrics=["mIoU"],
        show_dir=str(tmp_path / "shown"), work_dir=str(tmp_path),
    )  # fmt: skip
    tested = run_test(options)["student"]
    assert tested is not None
    assert tested["val_sets"] == trained["val_sets"]
    shown = [p.relative_to(tmp_path / "shown").parts[0] for p in tmp_path.rglob("*.png")]
    assert sorted(shown) == ["first"] * 3 + ["second"] * 3


def test_both_sources_and_targets_are_drawn_from(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says what a run reads; the fingerprints of all datasets stand in its record."""
    run_training(Config(config(root)), TrainOptions(str(tmp_path)))
    (file,) = tmp_path.glob("repro*.json")
    record = json.loads(file.read_text())
    for domain in ("source", "target"):
        assert len(record["data"][domain]) == 2
