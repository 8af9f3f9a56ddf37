"""Nothing waits forever: who waits for what, how long that may take, and what is said then.

The main thread says what it waits for (`waiting`), and in long work of its own that it goes on
(`beat`). A thread looks on. When nobody has moved for `patience()` seconds, it says who waits for
what and where, and ends this process. The processes of a run see each other's signs of life in the
store by which they have met; so a wait for one that still writes a checkpoint goes on.
"""

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mmseg.system.ending import end_process, say_at_the_end

MAX_WAIT = 120.0  # seconds; `max_wait` of a config
LOOK_SECONDS = 0.5
SHARE_SECONDS = 2.0
CONNECT_SECONDS = 30.0
STACK_DEPTH = 12
STUCK = "stuck"  # key of the sentence with which the first process gave up


@dataclass
class Signs:
    """What the main thread shows of itself."""

    beats: int = 0
    doing: str = "its start"
    wait: str | None = None  # for what it waits
    since: float = 0.0  # time of its last sign
    has_nothing_to_lose: bool = False  # a signal may end this wait at once


SIGNS = Signs()
LIMIT = [MAX_WAIT]


def patience() -> float:
    """Return how many seconds anything may wait without a sign of life."""
    return LIMIT[0]


def set_patience(seconds: float) -> None:
    """Choose how many seconds anything may wait without a sign of life."""
    LIMIT[0] = seconds


def beat(doing: str | None = None) -> None:
    """Show that this process goes on: the others of the run, which wait for it, wait on."""
    SIGNS.beats += 1
    SIGNS.doing = doing or SIGNS.doing


@contextmanager
def waiting(what: str, has_nothing_to_lose: bool = False) -> Iterator[None]:
    """Say that the main thread waits for something outside of this process."""
    SIGNS.since, SIGNS.has_nothing_to_lose = time.monotonic(), has_nothing_to_lose
    SIGNS.wait = what
    try:
        yield
    finally:
        SIGNS.wait, SIGNS.has_nothing_to_lose = None, False
        SIGNS.beats += 1


def stack(depth: int = STACK_DEPTH) -> str:
    """Return where the main thread is, the innermost call last."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame)[-depth:]) if frame else ""


class Lookout:
    """Ends a wait without an end, in a run of several processes.

    Two threads: one shares signs of life, and is stuck itself when the store is in a process that
    does not move; the other one looks.

    Args:
        store: of this run, with a connection that nobody else uses.
        rank, world_size: the place of this process.
    """

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self.store, self.rank, self.world_size = store, rank, world_size
        self.others = [other for other in range(world_size) if other != rank]
        self.seen: dict[int, str] = {}  # the newest sign of each other process
        self.moved = time.monotonic()  # when one of these changed last
        self.verdict = ""  # the sentence with which a process gave up, this or another one
        self._is_over = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        for work in (self._share, self._look):
            threading.Thread(target=work, name="lookout", daemon=True).start()

    def stop(self) -> None:
        """Look no further."""
        self._is_over.set()

    def _share(self) -> None:
        """Show the own sign and verdict, and read those of the others."""
        while not self._is_over.wait(SHARE_SECONDS):
            try:
                self.store.set(str(self.rank), f"{SIGNS.beats} {SIGNS.wait or SIGNS.doing}")
                if self.verdict:
                    self.store.set(STUCK, self.verdict)
                there = [n for n in self.others if self.store.check([str(n)])]
                signs = {n: self.store.get(str(n)).decode() for n in there}
                if self.store.check([STUCK]):
                    self.verdict = self.store.get(STUCK).decode()
            except RuntimeError:  # the process that holds the store has ended
                return
            if signs != self.seen:
                self.seen, self.moved = signs, time.monotonic()

    def _look(self) -> None:
        """Give up when nobody has moved for too long, or when another process gives up."""
        while not self._is_over.wait(LOOK_SECONDS):
            if self.verdict:
                self._end(3 * SHARE_SECONDS)  # after the one that gave up
            since = max(SIGNS.since, self.moved)
            if SIGNS.wait and time.monotonic() - since > patience():
                self.verdict = self._sentence(SIGNS.wait)
                self._end(2 * SHARE_SECONDS)  # the store may live in this process

    def _sentence(self, what: str) -> str:
        last = [f"process {n}: {self.seen[n].partition(' ')[2]}" for n in sorted(self.seen)]
        return (
            f"Process {self.rank} of {self.world_size} has waited {patience():.0f} "
            f"seconds for {what}, while no process moved (last signs: {', '.join(last) or 'none'}; "
            "the stack of each process that answers is above). Look at the process that does not "
            "wait itself, and start again with --resume auto. If it was only slow, raise max_wait."
        )

    def _end(self, grace: float) -> None:
        """Say where this process is and why it ends, and end it after `grace` seconds."""
        where = f"Process {self.rank} of {self.world_size} is here:\n{stack()}"
        say_at_the_end(f"{where}{self.verdict}")
        time.sleep(grace)
        if not self._is_over.is_set():
            end_process("")


def second_connection(host: str, port: int, name: str) -> Any:
    """Connect once more to the store by which the processes met; `name` keeps runs apart."""
    import torch.distributed as dist  # slow; whoever reads a config alone needs no torch

    timeout = timedelta(seconds=CONNECT_SECONDS)
    store = dist.TCPStore(host, port, is_master=False, timeout=timeout)  # pyright: ignore[reportPrivateImportUsage]
    return dist.PrefixStore(name, store)  # pyright: ignore[reportPrivateImportUsage]
