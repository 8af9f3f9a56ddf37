"""The loop ends after a signal, and a resumed one does what the interrupted one had left to do."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from line_method import Line, Rivals, batches, make_trainer

from mmseg.config.sections import PrecisionConfig, ScheduleConfig
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.engine.schedule import Schedule
from mmseg.system.interruption import RunInterrupted
from mmseg.system.workers import WorkerError

EVALUATED = {"evaluation_interval": 2, "checkpoint_interval": 2}


@dataclass
class Signal:
    """An interruption without a signal."""

    signal_name: str | None = None

    @property
    def requested(self) -> bool:
        return self.signal_name is not None


def stopping(iteration: int) -> tuple[Line, Signal]:
    """Return a method in whose iteration a signal arrives, and the signal."""
    method, arrived = Line(0.85), Signal()

    def look(number: int) -> None:
        arrived.signal_name = "SIGUSR1" if number == iteration else arrived.signal_name

    method.on_iteration = look
    return method, arrived


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.is_file()}


def kept(folder: Path) -> dict[str, Any]:
    """Return the checkpoints of a folder without what names a time."""
    contents = {p.name: read_checkpoint(p) for p in folder.glob("*.pth")}
    for content in contents.values():
        del content["meta"]["time"]
    return {name: str(content) for name, content in contents.items()}


def test_a_signal_ends_the_run_after_its_iteration_with_everything_saved(tmp_path: Path) -> None:
    whole = Line(0.85)
    make_trainer(tmp_path / "a", whole).run(batches(0, 6))
    method, arrived = stopping(2)
    first = make_trainer(tmp_path / "b", method, arrived)
    message = (
        r"^SIGUSR1 ended the run after iteration 3 of 6; its state is in '.*b/latest\.pth'\. C"
    )
    with pytest.raises(RunInterrupted, match=message):
        first.run(batches(0, 6))
    assert names(tmp_path / "b") == {"latest.pth"}
    second = make_trainer(tmp_path / "b", Line(9.0))
    second.resume(tmp_path / "b/latest.pth")
    second.run(batches(3, 6))
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


class Lost:
    """Batches whose workers are lost after the first `count`."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        yield from batches(0, self.count)
        raise WorkerError("expected 2 workers, got none.")


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_lost_workers_end_the_run_with_everything_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    make_trainer(tmp_path / "a", Line(0.85), **EVALUATED).run(batches(0, 6))
    first = make_trainer(tmp_path / "b", Line(0.85), **EVALUATED)
    if where == "evaluation":
        monkeypatch.setattr(first.output.evaluator, "_count", lambda *_: next(iter(Lost(0))))
    message = (
        r"^expected 2 workers, got none. The run ended after iteration \d of 6; its state is in "
        r"'.*/(latest|iter_2)\.pth'. Continue with: the same command with --resume auto$"
    )
    with pytest.raises(WorkerError, match=message):
        first.run(Lost(3))
    monkeypatch.undo()
    second = make_trainer(tmp_path / "b", Line(9.0), **EVALUATED)
    second.resume(tmp_path / "b/latest.pth")
    assert second.progress.iteration == (3 if where == "training" else 2)
    second.run(batches(second.progress.iteration, 6))
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_a_checkpoint_that_was_due_anyway_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CheckpointFolder, "save_latest", lambda *_: pytest.fail("written twice"))
    method, arrived = stopping(3)
    with pytest.raises(RunInterrupted, match=r"after iteration 4 of 6; .*/iter_4\.pth'"):
        make_trainer(tmp_path, method, arrived, checkpoint_interval=4).run(batches(0, 6))
    assert names(tmp_path) == {"iter_4.pth", "latest.pth"}


def test_a_signal_before_the_first_iteration_leaves_nothing(tmp_path: Path) -> None:
    method, arrived = Line(), Signal("SIGTERM")
    with pytest.raises(RunInterrupted, match="after iteration 0 of 6; there was nothing to save"):
        make_trainer(tmp_path, method, arrived).run(batches(0, 6))
    assert method.seen == []
    assert not list(tmp_path.glob("*.pth"))


def test_weights_that_diverged_are_not_saved_by_a_signal(tmp_path: Path) -> None:
    method, arrived = stopping(2)
    method.bad_gradient_iteration = 2
    with pytest.raises(FloatingPointError, match="expected finite weights"):
        make_trainer(tmp_path, method, arrived).run(batches(0, 6))
    assert not list(tmp_path.glob("*.pth"))


def test_an_interrupted_evaluation_is_made_up_for_first(tmp_path: Path) -> None:
    """The signal arrives while image 1 of 3 is labeled, after iteration 4.

    The resumed run ends with the same files as one without a signal: nothing of the evaluation,
    of the best checkpoint or of the last one is missing.
    """
    make_trainer(tmp_path / "a", Line(0.85), **EVALUATED).run(batches(0, 6))
    arrived = Signal()
    first = make_trainer(tmp_path / "b", Line(0.85), arrived, **EVALUATED)
    evaluator: Any = first.output.evaluator
    label, count = evaluator.dataset.gt_label, []

    def gt_label(index: int) -> Any:
        count.append(index)
        arrived.signal_name = "SIGTERM" if len(count) == 3 + 2 else None  # second of the second
        return label(index)

    evaluator.dataset.gt_label = gt_label
    with pytest.raises(RunInterrupted, match="after iteration 4 of 6"):
        first.run(batches(0, 6))
    assert count == [0, 1, 2, 0, 1]
    saved = read_checkpoint(tmp_path / "b/latest.pth")
    assert (saved["iteration"], saved["progress"]["last"]["iteration"]) == (4, 2)
    assert first.method.model.training
    second = make_trainer(tmp_path / "b", Line(9.0), **EVALUATED)
    second.resume(tmp_path / "b/latest.pth")
    second.run(batches(4, 6))
    assert kept(tmp_path / "a") == kept(tmp_path / "b")
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in "ab"]
    assert results[0] == results[1]


@pytest.mark.parametrize("killed_after", ["best_mIoU_iter_4.pth", "iter_4.pth"])
def test_a_kill_between_two_files_is_made_up_for(tmp_path: Path, killed_after: str) -> None:
    """The best checkpoint comes first, latest.pth last; what comes after a kill is missing."""
    whole, killed = tmp_path / "a", tmp_path / "b"
    settings = {**EVALUATED, "max_iters": 4}
    make_trainer(whole, Line(0.85), **settings).run(batches(0, 4))
    shutil.copytree(whole, killed)
    missing = {"iter_4.pth", "latest.pth"} - {killed_after}
    for name in missing:
        (killed / name).unlink()
    shutil.copyfile(killed / "iter_2.pth", killed / "latest.pth")
    found = CheckpointFolder(killed).newest_complete()
    assert found == killed / "best_mIoU_iter_4.pth"
    resumed = make_trainer(killed, Line(9.0), **settings)
    resumed.resume(found)
    resumed.run([])
    assert kept(killed) == kept(whole)


def test_a_completed_iteration_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer(tmp_path, Line(), **EVALUATED).run(batches(0, 2))
    resumed = make_trainer(tmp_path, Line(), **EVALUATED)
    resumed.resume(tmp_path / "latest.pth")
    monkeypatch.setattr(type(resumed), "_evaluate_and_save", lambda *_: pytest.fail("again"))
    resumed.run([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "was trained with seed 3; with seed 4 .* other samples and draws"),
        ({"samples_per_gpu": 2}, "samples_per_gpu 1; with samples_per_gpu 2 .* batch size"),
        ({"cumulative_iters": 3}, "cumulative_iters 2; with cumulative_iters 3 .* are dropped"),
        (
            {"max_iters": 9},
            r"schedule \(policy=poly, max_iters=6, .*\); with schedule \(.* max_iters=9, .*\) from",
        ),
        (
            {"precision": PrecisionConfig("float16", 8.0)},
            "with scaler False; with scaler True the run goes on in another precision",
        ),
    ],
)
def test_what_differs_from_the_interrupted_run_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], message: str
) -> None:
    settings = {"cumulative_iters": 2, "resume_interval": 1}
    make_trainer(tmp_path, Line(), **settings).run(batches(0, 3))
    caplog.clear()
    make_trainer(tmp_path, Line(), **settings).resume(tmp_path / "latest.pth")
    assert not warnings(caplog)
    make_trainer(tmp_path, Line(), **{**settings, **changes}).resume(tmp_path / "latest.pth")
    (warning,) = warnings(caplog)
    assert warning.startswith("The checkpoint '")
    assert re.search(message, warning)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_another_number_of_processes_is_said_and_drops_what_was_theirs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"cumulative_iters": 2, "resume_interval": 1}
    make_trainer(tmp_path, Line(), **settings).run(batches(0, 3))
    content = read_checkpoint(tmp_path / "latest.pth")
    content |= {"world_size": 2, "losses": content["losses"] * 2}
    content["gradients"] *= 2
    torch.save(content, tmp_path / "two.pth")
    resumed = make_trainer(tmp_path, Line(), **settings)
    resumed.resume(tmp_path / "two.pth")
    assert "was trained with world_size 2; with world_size 1 the run goes on" in caplog.text
    assert resumed.state.losses.means() == {}
    assert resumed.method.model.weight.grad is None


def test_optimizer_settings_of_the_config_hold_after_a_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(tmp_path, Rivals(), max_iters=2).run(batches(0, 2))
    resumed = make_trainer(tmp_path, Rivals())
    resumed.schedule = Schedule(ScheduleConfig("fixed"), 6)
    for group in resumed.optimizer.param_groups:
        group |= {"lr": 0.02, "initial_lr": 0.02, "weight_decay": 0.5}
    resumed.resume(tmp_path / "latest.pth")
    assert "other optimizer settings (initial_lr, weight_decay); from here on, those" in caplog.text
    resumed.step(batches(2, 3)[0])
    (group,) = resumed.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.5)
    assert resumed.optimizer.state_dict()["state"][0]["step"] == 3
