"""Trainings that are interrupted again and again, and compared with one that never was.

    report = campaign(write_material(root), root / "runs", ["kill", "saving"], seed=1, share=0.5)

A small CDDA run is trained once to the end. Then the same run is started, struck at random moments
and started again with `--resume auto` until it is complete, as often as it takes for all strikes.
Weights of student and teacher, optimizer, records and logged values have to be equal bit by bit.
"""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS.parent, TESTS / "helpers", TESTS / "golden"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import small_runs  # noqa: E402
import tiny_run  # noqa: E402
import torch  # noqa: E402
from patience import PATIENCE  # noqa: E402

from mmseg.engine.checkpoint import read_checkpoint  # noqa: E402
from mmseg.engine.checkpoint_folder import CheckpointFolder  # noqa: E402
from mmseg.system.interruption import EXIT_STATUS  # noqa: E402
from tools import train as train_tool  # noqa: E402

SIGNALS = ("SIGTERM", "SIGUSR1")
KINDS = {
    "kill": "SIGKILL at a random moment",
    "saving": "SIGKILL while a checkpoint is being written",
    "SIGTERM": "SIGTERM to all processes of the run",
    "SIGUSR1": "SIGUSR1 to all processes of the run",
    "full": "disk full (RLIMIT_FSIZE)",
}
LARGE = 1_000_000  # bytes: more than all files of a run but its checkpoints
HOLD = "hold"  # in the work folder: no checkpoint gets its name while this file is there
LENGTH = {"runner": {"max_iters": 8}, "log_config": {"interval": 3}, "evaluation": {"interval": 4}}
SAVES = {"interval": 2, "resume_interval": 1, "max_keep_ckpts": 2}


@dataclass
class Report:
    """What happened in all courses."""

    strikes: Counter[str] = field(default_factory=Counter)  # those that hit, by kind
    cut_saves: int = 0  # kills that left a half-written checkpoint
    starts: int = 0
    courses: int = 0
    mismatches: list[str] = field(default_factory=list)  # values that differ at the end
    faults: list[str] = field(default_factory=list)  # everything else that should not be


def write_material(root: Path) -> Path:
    """Write pictures, bank and config of a run, and return the config's path."""
    small_runs.write_material(root)
    changes = {**LENGTH, "checkpoint_config": SAVES, "data": {"workers_per_gpu": 1}}
    return tiny_run.write_config(root / "cdda.py", small_runs.config(root, "cdda", **changes))


def train(arguments: list[str], console: Path) -> None:
    """Run `tools/train.py` in this process, which leads a session of its own."""
    os.setsid()
    with console.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # loaders do what they do elsewhere
    replace = Path.replace

    def held_replace(partial: Path, target: Path) -> Path:
        while (console.parent / HOLD).exists() and partial.stat().st_size > LARGE:
            time.sleep(0.001)
        return replace(partial, target)

    Path.replace = held_replace  # type: ignore[method-assign]
    train_tool.main(arguments)


def start(config: Path, work_dir: Path) -> Any:
    """Start a training in a new process, which imports nothing that takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mmseg.apis.commands"])
    work_dir.mkdir(parents=True, exist_ok=True)
    arguments = [str(config), "--work-dir", str(work_dir), "--resume", "auto"]
    process = context.Process(target=train, args=(arguments, work_dir / "console.txt"))
    process.start()
    return process


class Course:
    """One training from its start to its end, however often it is interrupted."""

    def __init__(self, config: Path, work_dir: Path, report: Report) -> None:
        self.config, self.work_dir, self.report = config, work_dir, report
        self.saved = 0  # iterations that a restart must not lose
        report.courses += 1

    def finish(self) -> None:
        """Start or continue the training, and let it end."""
        if (status := self._end(self._start())) != 0:
            self._fault(f"ended with {status} instead of 0")

    def strike(self, kind: str, seconds: float) -> bool:
        """Start or continue the training, and interrupt it unless it is complete before.

        Args:
            kind: one of `KINDS`.
            seconds: earliest moment.
        """
        process = self._start()
        process.join(seconds)
        hold = self.work_dir / HOLD
        if kind == "saving":
            hold.touch()
        ready = {
            "saving": self._is_saving,
            "full": lambda: CheckpointFolder(self.work_dir).latest is not None,
            **dict.fromkeys(SIGNALS, lambda: _catches_signals(process.pid)),
        }.get(kind, lambda: True)
        if not _wait(process, ready):
            self._end(process)
            return False
        with suppress(ProcessLookupError):  # it has just ended
            _hit(process.pid, kind)
        hold.unlink(missing_ok=True)
        status = self._end(process)
        cut = self._is_saving()
        self._check(kind, status)
        if status == 0:
            return False
        self.report.strikes[kind] += 1
        self.report.cut_saves += cut
        return True

    def compare(self, whole: Path) -> None:
        """Note in what the complete training differs from the uninterrupted one in `whole`."""
        files = {p.name for p in whole.glob("*.pth")}
        if files != (ours := {p.name for p in self.work_dir.glob("*.pth")}):
            self.report.mismatches.append(f"files {sorted(ours)} instead of {sorted(files)}")
        for name in files & ours:
            self.report.mismatches += small_runs.differences(whole / name, self.work_dir / name)
        if small_runs.logged(whole) != small_runs.logged(self.work_dir):
            self.report.mismatches.append("logged values")

    def _start(self) -> Any:
        self.report.starts += 1
        return start(self.config, self.work_dir)

    def _end(self, process: Any) -> int | None:
        """Wait for the end of a process and return its status."""
        process.join(PATIENCE)
        if process.exitcode is None:
            self._fault("hangs")
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        return process.exitcode

    def _check(self, kind: str, status: int | None) -> None:
        """Note what an interruption broke."""
        expected = {"full": 1, **dict.fromkeys(SIGNALS, EXIT_STATUS)}.get(kind, -signal.SIGKILL)
        if status not in (expected, 0):
            self._fault(f"ended with {status} after {KINDS[kind]}, not with {expected}")
        if kind == "full" and status == 1:
            sentence = (self.work_dir / "console.txt").read_text().splitlines()[-1]
            if "got: File too large; raise" not in sentence or "--resume auto" not in sentence:
                self._fault(f"said {sentence!r}")
        if status != -signal.SIGKILL and any(self.work_dir.glob("*.partial")):
            self._fault(f"left a temporary file after {KINDS[kind]}")
        newest = CheckpointFolder(self.work_dir).newest_complete()
        iteration = 0 if newest is None else read_checkpoint(newest)["iteration"]
        if iteration < self.saved:
            self._fault(f"lost iterations {iteration} to {self.saved} after {KINDS[kind]}")
        self.saved = iteration

    def _is_saving(self) -> bool:
        """Tell whether there is a half-written checkpoint."""
        try:
            return any(p.stat().st_size > LARGE for p in self.work_dir.glob("*.partial"))
        except FileNotFoundError:  # just renamed
            return False

    def _fault(self, text: str) -> None:
        self.report.faults.append(f"{self.work_dir.name}: {text}")


def campaign(config: Path, folder: Path, kinds: list[str], seed: int, share: float) -> Report:
    """Interrupt a training in every one of the ways `kinds`, one after the other.

    Args:
        config: from `write_material`.
        folder: for work folders.
        kinds: keys of `KINDS`.
        seed: of the moments.
        share: latest moment of a strike after a start, as a share of the uninterrupted run's time.
    """
    report, draw = Report(), random.Random(seed)
    whole = Course(config, folder / "whole", report)
    begin = time.perf_counter()
    whole.finish()
    longest = share * (time.perf_counter() - begin)
    course = Course(config, folder / "course_1", report)
    for kind in kinds:
        while not course.strike(kind, draw.uniform(0, longest)):
            course.compare(whole.work_dir)
            shutil.rmtree(course.work_dir)
            course = Course(config, folder / f"course_{report.courses}", report)
            if report.starts > 10 * len(kinds):
                report.faults.append(f"gave up at {kind!r}")
                return report
    course.finish()
    course.compare(whole.work_dir)
    return report


def _wait(process: Any, is_ready: Callable[[], bool]) -> bool:
    """Wait until something is so; return False when the process ends before."""
    while process.is_alive():
        if is_ready():
            return True
        time.sleep(0.001)
    return False


def _catches_signals(process: int) -> bool:
    """Tell whether a process has handlers for `SIGNALS`."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return all(caught >> (getattr(signal, name) - 1) & 1 for name in SIGNALS)


def _hit(process: int, kind: str) -> None:
    if kind == "full":
        hard = resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process, resource.RLIMIT_FSIZE, (LARGE, hard))
    elif kind in SIGNALS:
        os.killpg(process, getattr(signal, kind))
    else:
        os.kill(process, signal.SIGKILL)
