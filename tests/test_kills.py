"""What is killed, stopped or out of space goes on as if nothing had happened.

`struck_runs` starts, strikes and compares; every strike is followed by another start of the same
command, and the end is compared with a run that nobody disturbed.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import interruptions
import pytest
import torch

if not sys.platform.startswith("linux"):
    pytest.skip("needs /proc and prlimit", allow_module_level=True)
import struck_files
import struck_runs
from command_server import Command, CommandServer
from struck_jobs import JOBS
from struck_runs import FULL, MOMENT, SIGNALS, Course, Report, Strike, campaign

from mmseg.engine.checkpoint import write_checkpoint
from mmseg.system.files import partial_of
from mmseg.system.folder_lock import LOCK_FILE

PAIR = "two processes without workers"
ONE_PROCESS = [name for name, job in JOBS.items() if job.ranks == 1]
OTHERS = [Strike("train", phase) for phase in (*SIGNALS, FULL)]


def expect_the_same_runs(report: Report, strikes: Sequence[Strike]) -> None:
    jobs = {strike.job for strike in strikes}
    assert report.faults == []
    assert report.differing == {job: [] for job in jobs}
    assert report.strikes == Counter(strikes)
    for job in jobs:
        # The undisturbed one, then at least one that came to its end through all strikes.
        assert report.courses[job] >= 2
        struck = sum(strike.job == job for strike in strikes)
        assert report.starts[job] >= struck + 2


def test_whatever_is_struck_anywhere_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """Every command in each of its phases; at a moment, of one process and of two; the rest."""
    strikes = [Strike(name, phase) for name in ONE_PROCESS for phase in JOBS[name].phases]
    strikes += [Strike("train", MOMENT), Strike(PAIR, MOMENT), *OTHERS]
    report = campaign(strikes, tmp_path, seed=1)
    expect_the_same_runs(report, strikes)
    assert report.cut_files >= 2


@pytest.mark.slow
def test_thirty_kills_end_with_the_undisturbed_weights(tmp_path: Path) -> None:
    of_pairs = [Strike(PAIR, phase) for phase in (MOMENT, *JOBS[PAIR].phases)]
    of_one = [Strike("train", phase) for phase in (MOMENT, *JOBS["train"].phases)]
    strikes = 2 * of_pairs + 5 * of_one + [*2 * [Strike("two processes", MOMENT)], *OTHERS]
    random.Random(3).shuffle(strikes)
    report = campaign(strikes, tmp_path, seed=3)
    expect_the_same_runs(report, strikes)


@pytest.mark.parametrize("kills", [100, 31])
def test_the_benchmark_kills_in_every_phase_and_as_often_at_random(kills: int) -> None:
    chosen = Counter(interruptions.choose(kills, seed=2))
    assert chosen.total() == kills + 2 * len(OTHERS)
    assert sum(n for strike, n in chosen.items() if strike.phase == MOMENT) == kills // 2
    assert {Strike(name, phase) for name, job in JOBS.items() for phase in job.phases} <= set(
        chosen
    )
    assert all(chosen[Strike(name, MOMENT)] for name, job in JOBS.items() if job.trains)


@pytest.mark.parametrize("wrong", ["fault", "value", ""])
def test_the_benchmark_fails_if_anything_was_lost(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(Counter([Strike("gta", "labels")]), Counter(gta=3), Counter(gta=2))
    report.differing["gta"] = ["a label"] if wrong == "value" else []
    report.faults += ["hangs"] if wrong == "fault" else []
    monkeypatch.setattr(interruptions, "campaign", lambda *_: report)
    monkeypatch.setattr(interruptions, "RESULTS", tmp_path / "RESULTS.md")
    if wrong:
        with pytest.raises(SystemExit, match={"fault": "hangs", "value": "gta: a label"}[wrong]):
            interruptions.main(["--write"])
        assert not interruptions.RESULTS.exists()
    else:
        interruptions.main(["--write"])
        assert "| gta | labels 1 | 1 | 3 | 2 | 0 |" in interruptions.RESULTS.read_text()


# What the comparison notices


def write_run(folder: Path) -> None:
    """Write one file of each kind that a complete run has."""
    write_checkpoint(folder / "run/latest.pth", checkpoint())
    record = {"mode": "train", "iter": 3, "time": 0.7, "decode.loss_seg": 2.5}
    (folder / "run/20260102_030405.log.json").write_text(json.dumps(record) + "\n")
    (folder / "run/results.json").write_text('{"mIoU": 0.25, "time": 3.5}')
    for name in ("crops/images/0.png", "labels/0_labelTrainIds.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"picture")
    (folder / "sample_class_stats.json").write_text('[{"0": 3, "file": "labels/0.png"}]')
    torch.save(torch.zeros(2, 3, 5), folder / "crops/gta_2_distribution.pth")


def checkpoint() -> dict[str, Any]:
    moments = {"step": torch.tensor(6.0), "exp_avg": torch.zeros(3, 2)}
    optimizer = {"state": {0: moments}, "param_groups": [{"params": [0], "lr": 0.5}]}
    state = {"model.weight": torch.zeros(3, 2)}
    return {"meta": {"iter": 6}, "iteration": 6, "state_dict": state, "optimizer": optimizer}


def with_another_checkpoint(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def plant(folder: Path) -> None:
        content = checkpoint()
        change(content)
        write_checkpoint(folder / "run/latest.pth", content)

    return plant


def with_another_text(name: str, old: str, new: str) -> Callable[[Path], object]:
    def plant(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return plant


PLANTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of a crop": (lambda f: (f / "crops/images/0.png").write_bytes(b"Picture"), "images/0"),
    "no label": (lambda f: (f / "labels/0_labelTrainIds.png").unlink(), "TrainIds.png is missing"),
    "a pixel of statistics": (with_another_text("sample_class_stats.json", "3", "4"), "stats.json"),
    "a value of the bank": (
        lambda f: torch.save(torch.eye(3), f / "crops/gta_2_distribution.pth"), "distribution.pth"
    ),
    "no moment of the optimizer": (
        with_another_checkpoint(lambda c: c["optimizer"]["state"][0].pop("exp_avg")),
        "latest.pth: /optimizer/state/0/exp_avg",
    ),
    "the sign of a zero": (
        with_another_checkpoint(lambda c: c["state_dict"]["model.weight"][2, 1].neg_()),
        "latest.pth: /state_dict/model.weight",
    ),
    "a logged value": (
        with_another_text("run/20260102_030405.log.json", "2.5", "2.25"), "log of ('train', 3)"
    ),
    "a result": (with_another_text("run/results.json", "0.25", "0.5"), "results.json"),
    "a temporary file": (lambda f: partial_of(f / "crops/depth.png").touch(), "partial was left"),
    "a lock": (lambda f: (f / "run" / LOCK_FILE).touch(), f"{LOCK_FILE} was left"),
}  # fmt: skip


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of the same run."""
    for name in ("whole", "other"):
        write_run(tmp_path / name)
    return tmp_path / "whole", tmp_path / "other"


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_difference_is_named(kind: str, two: tuple[Path, Path]) -> None:
    plant, name = PLANTED[kind]
    plant(two[1])
    (found,) = struck_files.differences(*two)
    assert name in found


def test_times_and_what_a_start_says_of_itself_may_differ(two: tuple[Path, Path]) -> None:
    log = two[1] / "run/20260102_030405.log.json"
    with_another_text("run/results.json", "3.5", "4.5")(two[1])
    with_another_text("run/20260102_030405.log.json", "0.7", "0.9")(two[1])
    log.rename(log.with_name("20270102_030405.log.json"))
    (two[1] / "run/repro.json").touch()
    assert struck_files.differences(*two) == []


def test_a_process_that_outlives_its_command_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(struck_runs, "ORPHAN_SECONDS", 0)
    report, server = Report(), cast(CommandServer, SimpleNamespace())
    course = Course("run_seg", tmp_path, tmp_path / "run", server, report)
    orphan = subprocess.Popen(["sleep", "100"], process_group=0)
    try:
        course.left.append(Command(server, orphan.pid, tmp_path))
        course.compare(tmp_path / "run")
    finally:
        orphan.kill()
        orphan.wait()
    (fault,) = report.faults
    assert f"left the processes [{orphan.pid}]" in fault
