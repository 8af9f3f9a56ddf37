"""Waiting for what has to happen, on a machine of any speed: the time only ends a hang."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

PATIENCE = 300  # seconds


def until(is_true: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < end, f"waited {PATIENCE} seconds"
        time.sleep(0.002)


def children_are_gone(but: set[BaseProcess] | frozenset[BaseProcess] = frozenset()) -> bool:
    """Wait for the end of this process's children, as of workers that have been told to end."""
    for child in set(multiprocessing.active_children()) - but:
        child.join(PATIENCE)
    return set(multiprocessing.active_children()) <= but
