"""Commands that are struck again and again, and compared with ones that nobody disturbed.

    report = campaign([Strike("train", "a moment"), Strike("gta", "labels")], folder, seed=1)

Each of `struck_jobs.JOBS` is run once to its end. Then it is started again in a folder of its own,
struck at a random moment, or in the middle of a phase, and started again, until it is complete, as
often as it takes for all strikes. In the end all files of both folders have to be equal, bit by
bit, nothing may be left beside them, and nobody may outlive a killed command.
"""

import os
import random
import resource
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import struck_command
import struck_files
from command_server import Command, CommandServer
from patience import PATIENCE
from struck_jobs import JOBS, write_material

from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.system.files import SUFFIX, is_running
from mmseg.system.interruption import EXIT_STATUS

MOMENT, FULL = "a moment", "full disk"
SIGNALS = ("SIGTERM", "SIGUSR1")  # to all processes of the run
# Once for all commands; an optimizer would import the last one.
IMPORTS = ("mmseg.apis.train", "mmseg.apis.run_folder", "torch._dynamo")
LARGE = 400_000  # bytes: more than all files of a run but its checkpoints
# So long may a process outlive a killed command. It takes a second, but the server of a group's
# workers hears of it only when it has imported torch, and a machine may be busy.
ORPHAN_SECONDS = 60
REACH = 0.5  # latest moment of a strike, as a share of the undisturbed run's time


class Strike(NamedTuple):
    """Which of `JOBS`, and when: in one of its phases, at `MOMENT`, by a signal, by `FULL`."""

    job: str
    phase: str


@dataclass
class Report:
    """What happened in all courses."""

    strikes: Counter[Strike] = field(default_factory=Counter)  # those that hit
    starts: Counter[str] = field(default_factory=Counter)  # by job
    courses: Counter[str] = field(default_factory=Counter)  # that came to their end, by job
    differing: dict[str, list[str]] = field(default_factory=dict)  # values at the end, by job
    cut_files: int = 0  # strikes that left a half-written file
    longest: float = 0.0  # seconds for which a worker was seen to outlive its command
    faults: list[str] = field(default_factory=list)  # everything else that should not be


class Course:
    """One command from its start to its end, however often it is struck."""

    def __init__(
        self, name: str, material: Path, folder: Path, server: CommandServer, report: Report
    ) -> None:
        self.name, self.job, self.material, self.folder = name, JOBS[name], material, folder
        self.server, self.report = server, report
        self.work_dir = folder / "run"
        self.mark = folder.with_suffix(".held")
        self.done = 0  # that a restart must not lose
        self.left: list[Command] = []  # whose workers may still be there
        folder.mkdir(parents=True)
        if self.job.copied:
            shutil.copytree(material / self.job.copied, folder / self.job.copied)

    def finish(self) -> None:
        """Start or continue the command, and let it end."""
        self._complete(self._start(struck_command.NOWHERE, 0))

    def strike(self, phase: str, longest: float, draw: random.Random) -> bool:
        """Start or continue the command, and strike it unless it is complete before.

        Args:
            phase: of a `Strike`.
            longest: the latest of its moments, in seconds after the start.
            draw: chooses the moment, and which processes are hit.
        """
        where, calls = self.job.phases.get(phase, (struck_command.NOWHERE, 1))
        ranks = self._start(where, draw.randint(1, calls))
        due = time.monotonic() + draw.uniform(0, longest)
        is_there: dict[str, Callable[[], object]] = {
            MOMENT: lambda: time.monotonic() > due,
            FULL: lambda: time.monotonic() > due and CheckpointFolder(self.work_dir).latest,
            **dict.fromkeys(SIGNALS, lambda: time.monotonic() > due and _hears(ranks[0].pid)),
        }
        if not _wait(ranks, is_there.get(phase, self.mark.exists)):
            self._complete(ranks)
            return False
        struck = draw.choice([[rank] for rank in ranks] + [ranks] * (len(ranks) > 1))
        for rank in struck:
            _hit(rank, phase)
        self.report.cut_files += any(self.folder.rglob(f".*{SUFFIX}"))
        self.mark.unlink(missing_ok=True)
        statuses, ended_at = self._end(ranks), time.monotonic()
        self._check(phase, ranks, struck, statuses)
        if draw.random() < 0.5:  # otherwise the next start comes at once
            self._expect_no_orphans()
            self.report.longest = max(self.report.longest, time.monotonic() - ended_at)
        return any(statuses)

    def compare(self, whole: Path) -> None:
        """Note in what the complete folder differs from the undisturbed one."""
        self._expect_no_orphans()
        self.report.courses[self.name] += 1
        found = struck_files.differences(whole, self.folder)
        self.report.differing.setdefault(self.name, []).extend(found)

    def _start(self, where: str, number: int) -> list[Command]:
        """Start all processes of the command; the first one may be held."""
        self.report.starts[self.name] += 1
        self.mark.unlink(missing_ok=True)
        command, places = self.job.command(self.material), list(_places(self.job.ranks))
        held = [str(Path(struck_command.__file__)), where, str(number), str(self.mark)]
        free = [held[0], struck_command.NOWHERE, *held[2:]]
        return [
            self.server.start(
                [*(free if rank else held), *command], folder=str(self.folder), environment=place
            )
            for rank, place in enumerate(places)
        ]

    def _complete(self, ranks: list[Command]) -> None:
        """Wait for the good end of all processes."""
        for rank, status in zip(ranks, self._end(ranks), strict=True):
            if status != 0:
                self._fault(f"ended with {status} although nobody struck: {_last_words(rank)}")

    def _end(self, ranks: list[Command]) -> list[int]:
        """Wait for the end of all processes, and return their statuses."""
        end = time.monotonic() + PATIENCE
        while any(is_running(rank.pid) for rank in ranks):
            if time.monotonic() > end:
                self._fault("hangs")
                end += PATIENCE
                for rank in ranks:
                    rank.signal(signal.SIGKILL)
            time.sleep(0.002)
        self.left += ranks
        return [rank.wait()[0] for rank in ranks]

    def _check(
        self, phase: str, ranks: list[Command], struck: list[Command], statuses: list[int]
    ) -> None:
        """Note what a strike broke."""
        expected = {FULL: 1, **dict.fromkeys(SIGNALS, EXIT_STATUS)}.get(phase, -signal.SIGKILL)
        for rank, status in zip(ranks, statuses, strict=True):
            if status not in (expected if rank in struck else 1, 0):
                self._fault(f"ended with {status} at {phase!r}: {_last_words(rank)}")
            if status == 1 and not self._is_advised(rank, phase):
                self._fault(f"said at {phase!r}: {_last_words(rank)}")
        if expected > 0 and any(self.folder.rglob(f".*{SUFFIX}")):
            self._fault(f"left a temporary file at {phase!r}")
        done = self._progress()
        if done < self.done:
            self._fault(f"fell back from {self.done} to {done} at {phase!r}")
        self.done = done

    def _is_advised(self, rank: Command, phase: str) -> bool:
        """Tell whether a process ended with a sentence that says how to go on."""
        said = rank.output.read_text()
        # What comes later is not its own: Python's tracker of semaphores is another process.
        own = [line for line in said.splitlines() if "resource_tracker" not in line]
        words = "got: File too large" if phase == FULL else "Process "
        sentences = [line for line in own if words in line and "--resume auto" in line]
        return sentences[-1:] == own[-1:] != [] and "Traceback" not in said

    def _progress(self) -> int:
        """Return the newest iteration to continue from, or how many files are complete."""
        if not self.job.trains:
            return len(struck_files.finished(self.folder))
        newest = CheckpointFolder(self.work_dir).newest_complete()
        return 0 if newest is None else read_checkpoint(newest)["iteration"]

    def _expect_no_orphans(self) -> None:
        """Wait until the workers of all former starts are gone."""
        end = time.monotonic() + ORPHAN_SECONDS
        while left := [number for command in self.left for number in command.running()]:
            if time.monotonic() > end:
                self._fault(f"left the processes {left}")
                break
            time.sleep(0.01)
        self.left.clear()

    def _fault(self, text: str) -> None:
        self.report.faults.append(f"{self.name}, '{self.folder.name}': {text}")


def campaign(strikes: Sequence[Strike], folder: Path, seed: int) -> Report:
    """Strike commands in all of the ways, those of one job one after the other.

    Args:
        strikes: in their order for each job.
        folder: an empty one, for material, folders of runs, and what is said.
        seed: of moments and numbers.
    """
    report, draw, said = Report(), random.Random(seed), folder / "said"
    write_material(folder / "material")
    said.mkdir()
    with CommandServer(said, *IMPORTS) as server:
        for name, of_job in groupby(sorted(strikes, key=lambda s: s.job), lambda s: s.job):
            _strike_job(name, list(of_job), folder, draw, server, report)
    return report


def _strike_job(
    name: str,
    strikes: list[Strike],
    folder: Path,
    draw: random.Random,
    server: CommandServer,
    report: Report,
) -> None:
    def course(number: int) -> Course:
        runs = folder / "runs" / name.replace(" ", "_")
        return Course(name, folder / "material", runs / str(number), server, report)

    whole = course(0)
    begin = time.monotonic()
    whole.finish()
    report.courses[name] += 1
    longest = REACH * (time.monotonic() - begin)
    number, current = 1, course(1)
    for strike in strikes:
        while not current.strike(strike.phase, longest, draw):
            current.compare(whole.folder)
            shutil.rmtree(current.folder)
            number += 1
            current = course(number)
            if report.starts[name] > 10 * len(strikes) + 10:
                report.faults.append(f"{name}: gave up at {strike.phase!r}")
                return
        report.strikes[strike] += 1
    current.finish()
    current.compare(whole.folder)


def _last_words(command: Command) -> str:
    return " ".join(command.output.read_text().split())[-300:]


def _places(ranks: int) -> Iterator[dict[str, str]]:
    """Yield the variables with which a launcher tells each process its place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    for rank in range(ranks):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), **meeting} if ranks > 1 else {}
        yield {"CUDA_VISIBLE_DEVICES": "", **place}


def _wait(ranks: list[Command], is_there: Callable[[], object]) -> bool:
    """Wait until something is so; return False when all processes end before."""
    while any(is_running(rank.pid) for rank in ranks):
        if is_there():
            return True
        time.sleep(0.001)
    return False


def _hears(process: int) -> bool:
    """Tell whether a process has handlers for `SIGNALS`."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return all(caught >> (getattr(signal, name) - 1) & 1 for name in SIGNALS)


def _hit(command: Command, phase: str) -> None:
    """Strike a process, which may just have ended."""
    with suppress(ProcessLookupError):
        if phase == FULL:
            hard = resource.prlimit(command.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(command.pid, resource.RLIMIT_FSIZE, (LARGE, hard))
        elif phase in SIGNALS:
            os.killpg(command.pid, getattr(signal, phase))
        else:
            command.kill()
