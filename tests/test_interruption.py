"""A signal lets a run save before it ends, and no worker of a loader dies before or outlives it.

Loaders run in a forked "main" process that leads a session of its own, as under a scheduler.
"""

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from patience import PATIENCE, until

from mmseg.datasets import build_train_loader
from mmseg.datasets.loader import build_test_loader, each_item
from mmseg.system import interruption, processes
from mmseg.system.files import atomic_write, is_stopped
from mmseg.system.interruption import EXIT_STATUS, SIGNALS, Interruption, shield_worker
from mmseg.system.waiting import set_patience, waiting
from mmseg.system.workers import WorkerError


class Numbers:
    """Samples that take `seconds` each; `begun` is set while the first one is drawn."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = multiprocessing.get_context("fork").Event()

    def __len__(self) -> int:
        return 1000

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        self.begun.set()
        time.sleep(self.seconds)
        return {"img": torch.full((2, 3), float(index)), "img_metas": {"pid": os.getpid()}}

    def __getitem__(self, index: int) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {"pid": os.getpid()}


class Starters:
    """Samples that name the process which has started the worker that draws them."""

    def __len__(self) -> int:
        return 1000

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        time.sleep(0.01)
        return {"img": torch.full((2, 3), float(index)), "img_metas": {"starter": os.getppid()}}


def loader(seconds: float) -> Any:
    return loader_of(Numbers(seconds), workers=2)


def loader_of(numbers: Numbers | Starters, workers: int) -> Any:
    return build_train_loader(numbers, 1, workers, seed=0, start_iteration=0, max_iters=1000)


def evaluation(seconds: float) -> Any:
    return build_test_loader(Numbers(seconds), workers=2)


def items(seconds: float) -> Any:
    return each_item(Numbers(seconds), workers=2)  # type: ignore[arg-type]


MAKERS = [loader, evaluation, items]  # every way to start workers


class Main:
    """A process that runs `action(pipe)` in a session of its own, and our end of the pipe."""

    def __init__(self, action: Callable[[Connection], None]) -> None:
        fork = multiprocessing.get_context("fork")
        self.pipe, theirs = fork.Pipe()

        def run() -> None:
            os.setsid()
            # The loader starts its workers by fork also where that is no longer the default.
            multiprocessing.set_start_method("fork", force=True)
            action(theirs)

        self.process: Any = fork.Process(target=run)
        self.process.start()
        theirs.close()

    def receive(self) -> Any:
        assert self.pipe.poll(PATIENCE), "the process says nothing"
        return self.pipe.recv()

    def signal_all(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def exit_status(self) -> int | None:
        self.process.join(PATIENCE)
        return self.process.exitcode


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[Connection], None]], Main]]:
    """Start processes that are gone at the end of the test, whatever happens."""
    if not sys.platform.startswith("linux"):
        pytest.skip("workers hold signals back on Linux alone")
    started: list[Main] = []

    def start_one(action: Callable[[Connection], None]) -> Main:
        started.append(Main(action))
        return started[-1]

    yield start_one
    for main in started:
        with suppress(ProcessLookupError):  # the process, and workers that have outlived it
            main.signal_all(signal.SIGKILL)
        main.process.join()


def is_running(process: int) -> bool:
    """Tell whether a process exists and is no zombie (nobody may collect orphans here)."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_for_end(processes: list[int]) -> None:
    until(lambda: not any(map(is_running, processes)))


def has_waiting_signal(process: int) -> bool:
    """Tell whether a signal was sent to a process that has not looked at it yet."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return any(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))


def children() -> list[int]:
    return sorted(child.pid for child in multiprocessing.active_children() if child.pid)


def train_until_signal(pipe: Connection, batches_of: Any = None) -> None:
    """Load batches until a signal arrives, go on for 20 more, save, and end as the command does."""
    with Interruption() as interruption:
        batches = iter(batches_of or loader(0.01))
        next(batches)
        workers = children()
        pipe.send(workers)
        for _ in batches:
            if interruption.requested:
                break
        indices = [int(next(batches)["img"][0, 0, 0]) for _ in range(20)]
        pipe.send((interruption.signal_name, len(set(indices)), children() == workers))
    sys.exit(EXIT_STATUS)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_to_the_whole_job_leaves_time_to_save(start: Any, name: str) -> None:
    main = start(train_until_signal)
    workers = main.receive()
    assert len(workers) == 2
    assert all(map(is_running, workers))
    main.signal_all(getattr(signal, name))
    assert main.receive() == (name, 20, True)
    assert main.exit_status() == EXIT_STATUS == 75
    wait_for_end(workers)


def train_in_a_group(pipe: Connection) -> None:
    """The same in a process with threads of gloo; say first who has started the workers."""
    processes.start_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    batches_of = loader_of(Starters(), workers=2)
    with closing(iter(batches_of)) as batches:
        pipe.send({next(batches)["img_metas"][0]["starter"] for _ in range(4)})
    train_until_signal(pipe, batches_of)


def threads_of(process: int) -> set[str]:
    return {file.read_text().strip() for file in Path(f"/proc/{process}/task").glob("*/comm")}


@pytest.mark.parametrize("name", SIGNALS)
def test_workers_of_a_group_come_from_a_process_without_its_threads(start: Any, name: str) -> None:
    """A fork while a thread of gloo holds a lock of Python is a worker that never begins.

    The process that starts them outlives a signal to the whole job like they do.
    """
    main = start(train_in_a_group)
    (starter,) = main.receive()
    workers = main.receive()
    assert any("gloo" in thread for thread in threads_of(main.process.pid))
    assert not any("gloo" in thread for thread in threads_of(starter))
    main.signal_all(getattr(signal, name))
    assert main.receive() == (name, 20, True)
    assert main.exit_status() == EXIT_STATUS
    wait_for_end([*workers, starter])


def test_workers_of_a_killed_process_end_in_the_middle_of_a_sample(start: Any) -> None:
    def load(pipe: Connection) -> None:
        numbers = Numbers(3600)
        batches = iter(loader_of(numbers, workers=2))
        numbers.begun.wait(PATIENCE)
        pipe.send(children())
        next(batches)

    main = start(load)
    workers = main.receive()
    assert len(workers) == 2
    main.process.kill()
    assert main.exit_status() == -signal.SIGKILL
    wait_for_end(workers)


def test_a_process_that_ends_early_takes_its_busy_workers_along(start: Any) -> None:
    """The loader gives its worker some seconds, then terminates it; that still works."""

    def load(pipe: Connection) -> None:
        numbers = Numbers(3600)
        batches = iter(loader_of(numbers, workers=1))
        numbers.begun.wait(PATIENCE)
        pipe.send(children())
        assert batches
        raise SystemExit(3)

    main = start(load)
    workers = main.receive()
    assert len(workers) == 1
    assert main.exit_status() == 3
    wait_for_end(workers)


@pytest.mark.parametrize("seconds", [0.0, 0.5])  # without and with samples that wait to be taken
@pytest.mark.parametrize("struck", ["SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("make", MAKERS)
def test_a_lost_worker_lets_the_file_be_saved_and_then_is_a_sentence(
    start: Any, tmp_path: Path, make: Any, struck: str, seconds: float
) -> None:
    """No error comes in the middle of saving; the other workers end, too, and nothing hangs.

    Memory of a sample that waits is handed over by its worker, which cannot when it is stopped.
    """
    file = tmp_path / "latest.pth"

    def save(pipe: Connection) -> None:
        batches = iter(make(0.01))
        next(batches)  # workers may need long to start
        set_patience(1)
        workers = children()
        with atomic_write(file) as stream:
            stream.write(b"new")
            time.sleep(seconds)
            pipe.send(workers)
            pipe.recv()
        try:
            for _ in batches:
                pass
        except WorkerError as error:
            pipe.send(str(error))
        os._exit(0)

    main = start(save)
    workers = main.receive()
    os.kill(workers[0], getattr(signal, struck))
    until(lambda: not is_running(workers[0]) or is_stopped(workers[0]))
    main.pipe.send("go on")
    sentence = main.receive()
    if struck == "SIGKILL":
        assert f"worker {workers[0]} was ended by SIGKILL. Look at what was said" in sentence
        assert "use fewer workers" in sentence
    else:
        states = f"{workers[0]} is stopped, {workers[1]} runs"
        assert f"within 1 seconds (max_wait), got none from the workers {states}" in sentence
    assert file.read_bytes() == b"new"
    assert main.exit_status() == 0
    wait_for_end(workers)


def test_a_worker_that_somebody_terminates_goes_on(start: Any) -> None:
    """It has looked at the signals, and the 20 batches after that are from the same workers."""
    main = start(train_until_signal)
    workers = main.receive()
    for worker in workers:
        for name in SIGNALS:
            os.kill(worker, getattr(signal, name))
    until(lambda: not any(map(has_waiting_signal, workers)))
    assert all(map(is_running, workers))
    os.kill(main.process.pid, signal.SIGTERM)
    assert main.receive() == ("SIGTERM", 20, True)
    assert main.exit_status() == EXIT_STATUS


@pytest.mark.parametrize("make", MAKERS)
def test_a_signal_reaches_no_worker_that_is_just_starting(start: Any, make: Any) -> None:
    """It would kill it before it is shielded, at the start of every evaluation."""

    def load(pipe: Connection) -> None:
        start_process, bootstrap = BaseProcess.start, BaseProcess._bootstrap  # type: ignore[attr-defined]

        def start_when_struck(process: Any, *arguments: Any, **keywords: Any) -> Any:
            os.read(process.gate[0], 1)
            return bootstrap(process, *arguments, **keywords)

        def start_under_fire(process: Any) -> None:
            process.gate = os.pipe()
            start_process(process)
            assert process.pid is not None
            sender = os.fork()  # the main process itself may terminate its workers
            if sender == 0:
                for name in SIGNALS:
                    os.kill(process.pid, getattr(signal, name))
                os._exit(0)
            os.waitpid(sender, 0)
            os.write(process.gate[1], b"x")

        BaseProcess.start = start_under_fire  # type: ignore[method-assign]
        BaseProcess._bootstrap = start_when_struck  # type: ignore[attr-defined]
        batches = iter(make(0.01))
        for _ in range(9):
            next(batches)
        pipe.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    assert start(load).receive() == set()  # this process hears all signals again


def test_workers_of_the_preprocessing_end_with_their_process(start: Any) -> None:
    def draw(pipe: Connection) -> None:
        drawn = items(0.01)
        next(drawn)
        pipe.send(children())
        for _ in drawn:
            pass

    main = start(draw)
    workers = main.receive()
    main.signal_all(signal.SIGTERM)
    assert main.exit_status() == -signal.SIGTERM
    wait_for_end(workers)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
def test_signals_are_noted_and_former_handlers_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mmseg.system.interruption.ECHO_SECONDS", math.inf
    )  # on a slow machine, too
    before = {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS}
    for name in SIGNALS:
        with Interruption() as interruption:
            assert not interruption.requested
            assert interruption.signal_name is None
            installed = {signal.getsignal(getattr(signal, n)) for n in SIGNALS}
            assert len(installed) == 1
            assert installed.isdisjoint({signal.SIG_DFL, signal.SIG_IGN, *before.values()})
            signal.raise_signal(getattr(signal, name))
            assert interruption.requested
            signal.raise_signal(signal.SIGTERM)
            assert interruption.signal_name == name  # the first one
        assert {n: signal.getsignal(getattr(signal, n)) for n in SIGNALS} == before
        assert interruption.requested


def wait_deaf() -> None:
    """Wait in C forever, as in a collective: Python hears no signal, its threads go on."""
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [("SIGINT", "SIGINT", 130), ("SIGTERM", "SIGTERM", 143), ("SIGINT", "SIGTERM", 143)],
)
def test_a_second_signal_ends_at_once_what_waits_in_a_library(
    start: Any, monkeypatch: pytest.MonkeyPatch, first: str, second: str, status: int
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setattr(interruption, "ECHO_SECONDS", 0.0)

    def wait(pipe: Connection) -> None:
        with Interruption() as noted:
            pipe.send("ready")
            until(lambda: noted.requested)
            pipe.send(noted.signal_name)
            wait_deaf()

    main = start(wait)
    assert main.receive() == "ready"
    os.kill(main.process.pid, getattr(signal, first))
    assert main.receive() == first
    os.kill(main.process.pid, getattr(signal, second))
    assert main.exit_status() == status


def test_the_first_signal_ends_a_wait_in_which_nothing_can_be_lost(start: Any) -> None:
    def wait(pipe: Connection) -> None:
        with Interruption(), waiting("the others", has_nothing_to_lose=True):
            pipe.send("ready")
            wait_deaf()

    main = start(wait)
    main.receive()
    os.kill(main.process.pid, signal.SIGUSR1)
    assert main.exit_status() == EXIT_STATUS


@pytest.mark.parametrize(
    ("launcher", "number", "seconds", "ends"),
    [
        ("", signal.SIGINT, 0.1, True),
        ("none", signal.SIGINT, 0.5, False),  # torchrun repeats a Ctrl-C without meaning it
        ("none", signal.SIGINT, 1.5, True),
        ("", signal.SIGTERM, 0.5, False),  # to the whole job, and again to each process
        ("", signal.SIGTERM, 1.5, True),
        ("", signal.SIGUSR1, 9.0, False),
    ],
)
def test_what_counts_as_a_second_signal(
    monkeypatch: pytest.MonkeyPatch, launcher: str, number: int, seconds: float, ends: bool
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if launcher:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", launcher)
    statuses: list[int] = []
    monkeypatch.setattr(interruption, "end_process", lambda text, status: statuses.append(status))
    noted = Interruption()
    noted._hear(number, 100.0)
    noted._hear(number, 100.0 + seconds)
    assert statuses == ([128 + number] if ends else [])


def test_another_thread_leaves_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter() -> None:
        with Interruption() as interruption:
            seen.append((signal.getsignal(signal.SIGTERM), interruption.requested))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
def test_a_process_that_is_no_worker_is_not_shielded() -> None:
    before = [signal.getsignal(getattr(signal, name)) for name in SIGNALS]
    shield_worker()
    assert [signal.getsignal(getattr(signal, name)) for name in SIGNALS] == before
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
