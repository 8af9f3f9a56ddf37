"""Equal threads on both sides of a comparison to the last bit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as the processes of a test do that are given one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def environment_with_as_many(**variables: str) -> dict[str, str]:
    """Return variables for a process that computes with as many threads as this one."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **variables}
