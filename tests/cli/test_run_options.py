"""Options that say where a run goes and which images are tested."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import run_experiments
from mmseg.apis.checks import check_folder
from mmseg.apis.run_names import child_of_file
from mmseg.apis.test import TestOptions, prepare_test_config
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config, load_config
from mmseg.config.run_config import RunConfig
from mmseg.config.sections import RunnerConfig
from mmseg.system.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "folder", "name", "work_dir"),
    [
        ({}, "local-basic", "c", "work_dirs/local-basic/NAME"),
        ({"work_dir": "elsewhere"}, "local-basic", "c", "elsewhere"),
        ({"name": "x", "exp": "y"}, "local-y", "x", "work_dirs/local-y/NAME"),
        ({"exp": 3}, "local-3", "c", "work_dirs/local-3/NAME"),
    ],
)
def test_options_name_a_run_and_its_folder(
    options: dict[str, object],
    folder: str,
    name: str,
    work_dir: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.py").write_text("seed = 1\n")
    file = child_of_file("c.py", options)
    child = load_config(file)
    assert file.parent == Path("configs/generated", folder)
    assert re.fullmatch(rf"\d{{6}}_\d{{4}}_{name}_[0-9a-f]{{5}}", child.name)
    assert file.stem == child.name
    assert child.work_dir == work_dir.replace("NAME", child.name)


@pytest.mark.parametrize("option", ["work_dir=a", "name=b", "exp=c"])
def test_the_runs_of_a_series_share_none_of_these(option: str) -> None:
    with pytest.raises(SystemExit, match=f"expected --exp without --cfg-options {option}, got"):
        run_experiments.main(["--exp", "80", "--cfg-options", option])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("carnival/val", "carnival/test"),
        ("leftImg8bit/val", "leftImg8bit/test"),
        ("splits/val.txt", "splits/test.txt"),
        ("images_val/val-1", "images_test/test-1"),
        ("val", "test"),
        ("interval/value/eval", "interval/value/eval"),
    ],
)
def test_the_test_set_replaces_words_of_paths(given: str, expected: str) -> None:
    cfg = Config({"data": {"test": {"type": "val", "data_root": "val", "img_dir": given}}})
    options = TestOptions("c", "k", test_set=True)
    test = prepare_test_config(cfg, options).data.test
    assert (test.type, test.data_root, test.img_dir) == ("val", "val", expected)


@pytest.mark.parametrize("name", ["latest.pth", "iter_4.pth", "best_mIoU_iter_4.pth"])
def test_a_new_run_does_not_replace_the_checkpoints_of_another_one(
    name: str, tmp_path: Path
) -> None:
    run = RunConfig(runner=RunnerConfig(2), work_dir=str(tmp_path))
    check_folder(run, TrainOptions())
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=rf"got {name} of another one in '{tmp_path}'.*--overw"):
        check_folder(run, TrainOptions())
    for options in ({"resume": "auto"}, {"resume": "none"}, {"overwrite": True}):
        check_folder(run, TrainOptions(**options))
    check_folder(replace(run, resume_from="x.pth"), TrainOptions())
