"""The processes of one run decide together, and end together.

Every step that can fail before the maps are made is done by all of them, with one error for the
user; after it they do not meet until all maps are made.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mmseg.system import processes
from mmseg.system.errors import is_for_user

T = TypeVar("T")

# The fastest process waits at the end for the slowest one.
TIMEOUT_MINUTES = 24 * 60.0


def together(action: Callable[[], T]) -> T:
    """Return what `action` returns here; if it fails in one process, all of them end.

    Process 0 raises the first error, the others end in silence.
    """
    error: Exception | None = None
    value: T | None = None
    try:
        value = action()
    except (OSError, ValueError, ImportError) as caught:
        if not is_for_user(caught):
            raise
        error = caught
    failed = [other for other in processes.gather_objects(error) if other is not None]
    if failed and processes.is_main():
        raise error or failed[0]
    if failed:
        sys.exit(1)
    return value  # type: ignore[return-value]


@contextmanager
def ends_with_the_others(program: str) -> Iterator[None]:
    """Leave the processes of the run; if one of them is lost, end with a sentence."""
    try:
        yield
    except processes.ProcessGroupError:
        sys.stderr.write(
            f"{program}: process {processes.rank()} of {processes.world_size()} has lost "
            "another one; look at what that one said, and start the same command again.\n"
        )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(1)  # sys.exit would wait for the lost one
    finally:
        processes.shut_down()
