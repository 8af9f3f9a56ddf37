"""Signals that end a run: it saves first, and its loader workers stay until then."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mmseg.system.ending import end_process
from mmseg.system.waiting import SIGNS

EXIT_STATUS = 75  # of a command that saved and stopped: "temporary failure", start it again
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT")
TORCHRUN = "TORCHELASTIC_RUN_ID"  # is set where torchrun repeats Ctrl-C to its processes
ECHO_SECONDS = 1.0
POLL_SECONDS = 1.0


class RunInterrupted(Exception):  # noqa: N818  # not an error: the run did what it was asked to
    """A run was saved and stopped after a signal; the message says how to continue it."""


class Interruption:
    """Notes signals that ask the run to end, instead of dying from them.

    `with Interruption() as interruption:` installs the handlers and restores the former ones at
    the end. Outside the main thread, where Python allows no handlers, it does nothing.

    A second Ctrl-C or SIGTERM ends the process at once, and so does the first signal while it waits
    and has nothing to lose. A thread hears these, because Python's own handlers do not run while
    the main thread waits in a library.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._asked_at: float | None = None
        self._former: dict[int, Any] = {}
        self._former_ear = -1
        self._mouth: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived in this process."""
        return self.signal_name is not None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._mouth, ear = socket.socketpair()
            self._mouth.setblocking(False)
            number = self._mouth.fileno()
            self._former_ear = signal.set_wakeup_fd(number, warn_on_full_buffer=False)
            for number in _signals_here():
                self._former[number] = signal.signal(number, self._note)
            self._thread = threading.Thread(target=self._listen, args=(ear,), daemon=True)
            self._thread.start()
            ACTIVE.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            # None: a handler that was not installed from Python cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former.clear()
        if self._mouth is not None and self._thread is not None:
            ACTIVE.remove(self)
            signal.set_wakeup_fd(self._former_ear)
            # That ends the thread, though workers have a copy of it.
            self._mouth.shutdown(socket.SHUT_RDWR)
            self._mouth.close()
            self._thread.join()  # a signal that it still hears belongs to this part of the command

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Remember the first signal."""
        self.signal_name = self.signal_name or signal.Signals(number).name

    def _listen(self, ear: socket.socket) -> None:
        with ear:
            while heard := ear.recv(1):
                if heard[0] in _signals_here():
                    self._hear(heard[0], time.monotonic())

    def _hear(self, number: int, now: float) -> None:
        """End the process if a signal says so; time `now` is in seconds."""
        name = signal.Signals(number).name
        if SIGNS.wait and SIGNS.has_nothing_to_lose:
            end_process(f"{name} ended the command while it waited for {SIGNS.wait}.", EXIT_STATUS)
        if name not in ("SIGINT", "SIGTERM"):
            return
        # Schedulers send a signal to the job and again to its processes.
        echo = ECHO_SECONDS if name == "SIGTERM" or TORCHRUN in os.environ else 0.0
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > echo:
            end_process(
                f"A second signal, {name}, ended the command at once. What was saved before the "
                "first one is complete.",
                128 + number,  # as shells count
            )


ACTIVE: list[Interruption] = []  # installed in this process, the innermost last


def raise_if_interrupted(when: str) -> None:
    """Raise `RunInterrupted` if a signal has arrived; `when` says where it found the command."""
    if name := next((active.signal_name for active in ACTIVE if active.requested), None):
        raise RunInterrupted(f"Stopped by {name} {when}. Start the same command again to continue.")


class Watch:
    """Ends long work on `total` items, called `what`, between two of them after a signal."""

    def __init__(self, interruption: Interruption, what: str, total: int) -> None:
        self.interruption, self.what, self.total = interruption, what, total

    def __call__(self, items: Iterator) -> Iterator:
        """Yield the items; after a signal, raise `RunInterrupted` instead of the next one."""
        for done, item in enumerate(items, 1):
            yield item
            if self.interruption.requested and done < self.total:
                raise RunInterrupted(
                    f"Stopped by {self.interruption.signal_name} after {done} of {self.total} "
                    f"{self.what}. Start the same command again to continue."
                )


@contextmanager
def signals_held() -> Iterator[None]:
    """Block the signals while workers start; a worker inherits that until it is shielded."""
    if not hasattr(signal, "sigtimedwait"):  # where shield_worker would not release them
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _signals_here())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def shield_worker() -> None:
    """Make a loader worker live exactly as long as the process that started it.

    Schedulers and terminals send their signals to all processes of a job, and a run that loses a
    worker cannot go on to its next checkpoint. So a worker ignores them, ends when its main process
    terminates it, and ends by itself, even in the middle of a sample, when that process is gone.
    Call it in the worker. Outside a child of multiprocessing it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.set_wakeup_fd(-1)  # forked, it would speak into its main process's ear
    for number in _signals_here():
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    # Only Linux says who sent a signal; elsewhere SIGTERM ends a worker, whoever sends it.
    if hasattr(signal, "sigtimedwait"):
        # Blocked here and in all later threads, the signal waits for the thread below.
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(parent, os.getppid()), daemon=True).start()


def _signals_here() -> list[signal.Signals]:
    """Return those of `SIGNALS` that the system has: Windows lacks SIGUSR1."""
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


def _end_with(main: Any, starter: int) -> None:
    """End this process when its main process, which built the loader, terminates it or is gone.

    `starter` is the number of the process that forked this one: `main` or its fork server.
    """
    while os.getppid() == starter and main.is_alive():
        sent = signal.sigtimedwait({signal.SIGTERM}, POLL_SECONDS)
        if sent is not None and sent.si_pid == main.pid:
            break
    # At once and with success: the main process treats any other status as a failed worker.
    os._exit(0)
