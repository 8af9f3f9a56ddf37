"""Processes that write maps while the device computes.

They are started before the network is loaded: a copy of a small process is made quickly, and has
no threads and no device to inherit.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mmseg.datasets.loader import start_worker
from mmseg.preprocessing.crops import encode_png
from mmseg.preprocessing.depth_maps.jobs import Job
from mmseg.system.files import atomic_write
from mmseg.system.interruption import signals_held

START_SECONDS = 0.05


def write_map(path: Path, levels: np.ndarray) -> None:
    """Write (H, W) uint8 as a gray PNG, whole or not at all."""
    # OpenCV's own setting is the quickest: others were 2 to 6 times slower, for files 0 to 25 %
    # smaller.
    data = encode_png(levels)
    with atomic_write(path) as file:
        file.write(data)


class Writers:
    """Carries out tasks in processes of their own, and returns their results in order.

    Args:
        processes: how many; 0 does everything at once, in this process.
        batch_size: how many tasks come at a time. So many may wait while the next come about.
    """

    def __init__(self, processes: int, batch_size: int = 1) -> None:
        self.processes = processes
        self.limit = batch_size + 2 * processes
        self.pool: ProcessPoolExecutor | None = None
        self.tasks: deque[tuple[Job, Future]] = deque()

    def __enter__(self) -> "Writers":
        if self.processes:
            with signals_held():
                self.pool = ProcessPoolExecutor(
                    self.processes, initializer=start_worker, initargs=(0,)
                )
                # Python 3.10 starts a process only for a task that finds none idle.
                for _ in range(self.processes):
                    self.pool.submit(time.sleep, START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=error is None, cancel_futures=True)

    def submit(self, job: Job, task: Callable[..., Any], *arguments: Any) -> None:
        """Take a task; its result comes from `finished`."""
        if self.pool is None:
            done: Future = Future()
            done.set_result(task(*arguments))
            self.tasks.append((job, done))
            return
        with _explains_dead_processes(self.processes):
            self.tasks.append((job, self.pool.submit(task, *arguments)))

    def finished(self, is_last: bool = False) -> Iterator[tuple[Job, Any]]:
        """Yield the results that are there; wait for some if too many tasks are waiting.

        Args:
            is_last: wait for all.

        Raises:
            OSError: a map cannot be written.
            ChildProcessError: a process is gone.
        """
        limit = 0 if is_last else self.limit
        while self.tasks and (len(self.tasks) > limit or self.tasks[0][1].done()):
            job, future = self.tasks.popleft()
            with _explains_dead_processes(self.processes):
                result = future.result()
            yield job, result


@contextmanager
def _explains_dead_processes(number: int) -> Iterator[None]:
    """Turn the error of a broken pool into a sentence."""
    try:
        yield
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"expected {number} writing processes to run to the end, got: one of them was killed. "
            "Start the same command again to continue, with a smaller --num-workers if the memory "
            "was full."
        ) from error
