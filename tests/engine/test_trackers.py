"""What Weights & Biases gets, with a stand-in for its package."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny_run
from line_method import Line, batches, make_trainer

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.engine.trackers import Tracker, WandbTracker, build_trackers
from mmseg.system.interruption import RunInterrupted

HOOK = {"type": "WandbLoggerHook", "init_kwargs": {"project": "p", "mode": "offline"}}


class Run:
    """As the object that `wandb.init` returns."""

    def __init__(self, number: int, kwargs: dict[str, Any]) -> None:
        self.id = kwargs.get("id", f"id{number}")
        self.kwargs = kwargs
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.ends = 0

    def log(self, values: dict[str, Any], step: int) -> None:
        assert self.ends == 0, "nothing may be sent after the end"
        assert all(isinstance(value, int | float) for value in values.values())
        self.logged.append((step, values))

    def finish(self) -> None:
        self.ends += 1


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """All runs that the stand-in has begun."""
    begun: list[Run] = []

    def init(**kwargs: Any) -> Run:
        begun.append(Run(len(begun), kwargs))
        return begun[-1]

    package = ModuleType("wandb")
    package.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", package)
    return begun


def wandb_tracker(folder: Path, is_resumed: bool = False) -> Tracker:
    trackers = build_trackers([HOOK], str(folder), "now", is_resumed)
    assert isinstance(trackers[-1], WandbTracker)
    return trackers[-1]


def test_wandb_gets_numbers_by_mode_and_step_and_is_finished_once(
    tmp_path: Path, runs: list[Run]
) -> None:
    trainer = make_trainer(tmp_path, Line(), max_iters=4, log_interval=2, evaluation_interval=4)
    trainer.trackers = [wandb_tracker(tmp_path)]
    trainer.run(batches(0, 4))
    (run,) = runs
    assert run.kwargs == {"dir": str(tmp_path), "project": "p", "mode": "offline"}
    assert [step for step, _ in run.logged] == [2, 4, 4]
    (_, first), _, (_, last) = run.logged
    assert {"train/lr", "train/time", "train/decode.loss_seg"} <= set(first)
    assert {"val/mIoU", "val/IoU.low", "val/aAcc"} <= set(last)
    keys = {key for _, values in run.logged for key in values}
    assert not {"val/below_1_percent", "train/iter", "val/mode"} & keys
    assert run.ends == 1


def test_wandb_is_finished_when_a_loss_is_not_finite(tmp_path: Path, runs: list[Run]) -> None:
    method = Line()
    method.bad_iteration = 1
    trainer = make_trainer(tmp_path, method, log_interval=1)
    trainer.trackers = [wandb_tracker(tmp_path)]
    with pytest.raises(FloatingPointError):
        trainer.run(batches(0, 6))
    assert [step for step, _ in runs[0].logged] == [1]
    assert runs[0].ends == 1


def test_wandb_is_finished_when_a_run_is_interrupted(tmp_path: Path, runs: list[Run]) -> None:
    trainer = make_trainer(tmp_path, Line())
    trainer.trackers = [wandb_tracker(tmp_path)]

    def interrupted() -> Any:
        yield from batches(0, 2)
        raise RunInterrupted("SIGTERM")

    with pytest.raises(RunInterrupted):
        trainer.run(interrupted())
    assert runs[0].ends == 1


def test_a_resumed_run_goes_on_in_its_wandb_run_and_a_new_one_does_not(
    tmp_path: Path, runs: list[Run]
) -> None:
    """First start, resumed, a new start in the same folder, that one resumed; then elsewhere."""
    for is_resumed in (False, True, False, True):
        wandb_tracker(tmp_path, is_resumed)
    wandb_tracker(tmp_path / "elsewhere", is_resumed=True)
    assert [run.id for run in runs] == ["id0", "id0", "id2", "id2", "id4"]
    resumes = [run.kwargs.get("resume") for run in runs]
    assert resumes == [None, "allow", None, "allow", None]


def test_the_users_own_wandb_id_is_kept(tmp_path: Path, runs: list[Run]) -> None:
    WandbTracker(str(tmp_path))
    WandbTracker(str(tmp_path), {"id": "mine", "resume": "must"}, is_resumed=True)
    assert (runs[1].kwargs["id"], runs[1].kwargs["resume"]) == ("mine", "must")


def test_a_resumed_training_says_so_to_wandb(tmp_path: Path, runs: list[Run]) -> None:
    tiny_run.write_pictures(tmp_path)
    values = tiny_run.config(tmp_path, uda={"type": "DACS", "source_only": True})
    values["log_config"]["hooks"] = [HOOK]
    options = {"work_dir": str(tmp_path / "run"), "validate": False}
    for max_iters, resume in ((1, "none"), (2, "auto")):
        values["runner"]["max_iters"] = max_iters
        run_training(Config(values), TrainOptions(**options, resume=resume))
    assert [[step for step, _ in run.logged] for run in runs] == [[1], [2]]
    assert [run.id for run in runs] == ["id0", "id0"]
    assert [run.ends for run in runs] == [1, 1]
