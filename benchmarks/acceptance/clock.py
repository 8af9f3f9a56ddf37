"""A clock that interrupts the main thread when its time is up, whatever it is doing."""

import os
import signal
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

GRACE = 15.0  # seconds between interrupting the work and the end of the process
DEAF = 7.5  # seconds after which work that ignores the interruption is ended by force


class OutOfTime(BaseException):
    """The time is up. Not an `Exception`, so no handler along the way swallows it."""


class Clock:
    """Counts down from a number of minutes.

    Args:
        minutes: until the process must have ended. The work is interrupted `GRACE` seconds earlier
            (or a tenth of the time, if that is less).
        start: `time.monotonic()` when the countdown began.
    """

    def __init__(self, minutes: float, start: float | None = None) -> None:
        self.start = time.monotonic() if start is None else start
        self.limit = 60 * minutes - min(GRACE, 6 * minutes)

    def spent(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.start

    def left(self) -> float:
        """Return the seconds until the work is interrupted."""
        return self.limit - self.spent()

    @contextmanager
    def interrupts(self, last_words: Callable[[], int]) -> Iterator[None]:
        """Raise `OutOfTime` in the block when the time is up.

        Args:
            last_words: called if the block does not end, because a call into a library ignores
                signals; returns the exit status of the process, which is then ended by force.
        """
        is_done, previous = threading.Event(), signal.getsignal(signal.SIGINT)
        lock = threading.Lock()  # no interruption may be pending when the block is left

        def interrupt(number: int, frame: Any) -> None:
            if self.left() > 0:
                raise KeyboardInterrupt
            if not is_done.is_set():
                raise OutOfTime

        def watch() -> None:
            while (left := self.left()) > 0:
                if is_done.wait(left):
                    return
            with lock:
                if is_done.is_set():
                    return
                interrupt_main()
            if is_done.wait(DEAF):
                return
            status = 1
            try:
                status = last_words()
            finally:
                os._exit(status)

        signal.signal(signal.SIGINT, interrupt)
        try:
            try:
                threading.Thread(target=watch, daemon=True).start()
                yield
            finally:
                with lock:
                    is_done.set()
        finally:  # also if time runs out in the lines above
            is_done.set()
            signal.signal(signal.SIGINT, previous)  # runs pending handlers first
