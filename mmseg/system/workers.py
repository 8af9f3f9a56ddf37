"""How the workers of a loader come into being, and what becomes of a loader that waits for them."""

import faulthandler
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor
from torch.utils.data import get_worker_info

from mmseg.system import processes
from mmseg.system.files import is_stopped
from mmseg.system.interruption import raise_if_interrupted, signals_held
from mmseg.system.waiting import beat, patience

PRELOADED = ["torch.utils.data", "cv2"]  # by the fork server, else by every worker anew
POLL_SECONDS = 2  # between two looks at the workers while nothing comes
GRACE_SECONDS = 1.0  # in which workers write where they are
DONE = object()
SHARED_MEMORY = Path("/dev/shm")
# What torch and the system say about workers; their errors have no types of their own.
STILL_WAITING = "DataLoader timed out"
NO_MEMORY = re.compile(r"shared memory|\bshm\b|bus error|SIGBUS|no space left", re.IGNORECASE)
NO_FILES = re.compile(r"too many open files", re.IGNORECASE)
NO_PROCESS = re.compile(r"resource temporarily|cannot allocate|can't start new", re.IGNORECASE)
GONE = re.compile(r"DataLoader worker", re.IGNORECASE)
FEWER = "use fewer workers (data.workers_per_gpu, --num-workers or --nproc)"
MORE_SHARED_MEMORY = f"Enlarge it (docker run --shm-size=8g, or --ipc=host), or {FEWER}"


class WorkerError(ChildProcessError):
    """The workers of a loader cannot go on; the message says why, and what helps."""


def worker_context() -> BaseContext | None:
    """Return the way to start the workers of a loader; None is multiprocessing's own way.

    A process of a group has threads of gloo, and each takes Python's locks to free the tensors of a
    collective that has just ended. A process forked in that moment waits for such a lock forever
    (Python before 3.12 does, and later ones warn against such a fork), and the run waits for its
    samples. So in a group the workers come from a server, which has no such threads.
    """
    if not processes.is_initialized() or multiprocessing.get_start_method() != "fork":
        return None
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # A signal to all processes of a job must end neither of them: with the server its workers end.
    # They inherit that signals are held. The tracker starts first: its start releases some of them.
    for start in (resource_tracker.ensure_running, forkserver.ensure_running):
        with signals_held():
            start()
    return context


def show_stack_on_request() -> None:
    """Let a worker write where it is when its main process asks; call it in the worker."""
    if hasattr(signal, "SIGUSR2"):  # Windows has none
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)


@contextmanager
def workers_of(count: int) -> Iterator[list[BaseProcess]]:
    """Start `count` workers in the block; afterwards, the list holds them.

    torch would raise an error in the middle of any later line when one of them dies. The handler
    that was there before comes back: a lost worker is noticed where its work is missed.
    """
    before, started = multiprocessing.active_children(), []
    former = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        with signals_held():
            yield started
    except (OSError, RuntimeError) as error:
        _explain(error, [], count)
    finally:
        if former is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, former)
    new = (child for child in multiprocessing.active_children() if child not in before)
    started += sorted(new, key=lambda worker: worker.pid or 0)


def next_item(items: Iterator[Any], workers: Sequence[BaseProcess]) -> Any:
    """Return the next item of a loader with `POLL_SECONDS` as its timeout, or `DONE`.

    `WorkerError` if the workers cannot go on, or no item comes within `patience()`;
    `RunInterrupted` after a signal while none comes.
    """
    if not workers:
        return next(items, DONE)
    start = time.monotonic()
    with _unblocked(workers) as given_up:
        while True:
            try:
                return next(items, DONE)
            except (OSError, RuntimeError, EOFError) as error:
                if given_up:
                    raise given_up[0] from error
                if not str(error).startswith(STILL_WAITING):
                    _explain(error, workers, len(workers))
            raise_if_interrupted("while it waited for samples")
            beat("waiting for samples")
            if time.monotonic() - start > patience():
                error = _stuck(workers)
                _kill(workers)
                raise error


@dataclass(frozen=True)
class _Wait:
    """A wait of the main thread for an item of these workers."""

    workers: Sequence[BaseProcess]
    limit: float  # of `time.monotonic()`
    given_up: list[WorkerError] = field(default_factory=list)


WAITS: dict[int, _Wait] = {}  # those of this process
WATCHERS: list[threading.Thread] = []  # one at most: to start one takes longer than most waits
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WAITS.clear)


@contextmanager
def _unblocked(workers: Sequence[BaseProcess]) -> Iterator[list[WorkerError]]:
    """Give workers up, from a thread, when the main thread does not come back from the loader.

    It hands over the memory of a sample together with its worker; if that is stopped, torch waits
    for it without a timeout. The list then holds the error, and ended workers end the wait.
    """
    # Longer than the main thread waits by itself.
    wait = _Wait(workers, time.monotonic() + patience() + 2 * POLL_SECONDS)
    WAITS[id(wait)] = wait
    if not any(watcher.is_alive() for watcher in WATCHERS):  # at first, or forked
        WATCHERS[:] = [threading.Thread(target=_watch, daemon=True)]
        WATCHERS[0].start()
    try:
        yield wait.given_up
    finally:
        WAITS.pop(id(wait), None)


def _watch() -> None:
    """Give up the workers of every wait that takes too long; never returns."""
    while True:
        time.sleep(POLL_SECONDS)
        for wait in list(WAITS.values()):
            if time.monotonic() > wait.limit and not wait.given_up:
                wait.given_up.append(_stuck(wait.workers))
                _kill(wait.workers)


def _explain(error: Exception, workers: Sequence[BaseProcess], count: int) -> NoReturn:
    """Raise `WorkerError` if an error means that workers cannot go on, else the error."""
    if is_cut := isinstance(error, ConnectionError | EOFError):  # of a worker that is just ending
        ending = connection.wait([worker.sentinel for worker in workers], GRACE_SECONDS)
        for worker in workers:
            if worker.sentinel in ending:  # its files are closed; soon it is gone
                worker.join(GRACE_SECONDS)
    # torch puts the text of a worker's traceback, whose last line is the error, after its own.
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    reason = lines[-1].strip().rstrip(".") if lines else type(error).__name__
    lost = [worker for worker in workers if not worker.is_alive()]
    ends = [_end_of(worker) for worker in lost]
    said = " ".join([*lines[:1], reason, *ends])
    expected = f"expected {count} workers to deliver samples, got: "
    if NO_MEMORY.search(said):
        reason, advice = f"{reason}{_shared_memory()}", MORE_SHARED_MEMORY
    elif NO_FILES.search(said):
        reason, advice = "too many open files", f"Raise the limit (ulimit -n 65536), or {FEWER}"
    elif not workers and NO_PROCESS.search(said):
        advice = f"Raise the limits of processes and memory (ulimit -u), or {FEWER}"
    elif lost or is_cut or GONE.search(said):
        reason = ", ".join(ends) or reason
        advice = f"Look at what was said before. If the memory was full, {FEWER}"
    else:
        raise error
    _kill(workers)
    raise WorkerError(f"{expected}{reason}. {advice}.") from error


def _stuck(workers: Sequence[BaseProcess]) -> WorkerError:
    """Let the workers write where they are, and return what to raise."""
    numbers = [worker.pid for worker in workers if worker.pid is not None]
    states = [f"{n} {'is stopped' if is_stopped(n) else 'runs'}" for n in numbers]
    if hasattr(signal, "SIGUSR2"):
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGUSR2)
        time.sleep(GRACE_SECONDS)
    return WorkerError(
        f"expected samples within {patience():.0f} seconds (max_wait), got none from the workers "
        f"{', '.join(states)} (those that run have written above where they are). Look at the "
        "disk, continue a stopped process (kill -CONT), or raise max_wait if samples take longer."
    )


def in_shared_memory(tensor: Tensor) -> Tensor:
    """Move a worker's tensor to where the main process sees it; elsewhere return it as it is.

    The loader would do so in a thread of its own, whose errors leave the main process waiting.
    """
    if get_worker_info() is None:
        return tensor
    try:
        return tensor.share_memory_()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise WorkerError(
            f"expected {tensor.nbytes} bytes of shared memory for samples, got: {reason}"
            f"{_shared_memory()}. {MORE_SHARED_MEMORY}."
        ) from error


def _kill(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.kill()


def _end_of(worker: BaseProcess) -> str:
    """Say how a worker that is gone has ended."""
    code = worker.exitcode
    if code is None or code >= 0:
        return f"worker {worker.pid} ended with status {code}"
    try:
        return f"worker {worker.pid} was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"worker {worker.pid} was ended by signal {-code}"


def _shared_memory() -> str:
    """Say how much shared memory there is, where the system shows it."""
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return ""
    megabytes = [f"{size / 2**20:.1f} MB" for size in (usage.total, usage.free)]
    return f" (shared memory, '{SHARED_MEMORY}': {megabytes[0]}, {megabytes[1]} of them free)"
