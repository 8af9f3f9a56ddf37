"""Turn what torch, CUDA and allocators say about a full memory into a sentence."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

# What CUDA, its libraries, and the allocators of CPUs say in a plain RuntimeError.
FULL_MEMORY = re.compile(
    r"out of memory|(can't|cannot) allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE
)
FULL_MEMORY_SENTENCES = 3  # of torch's message: how much was requested, how much is free


class FullMemoryError(ValueError):
    """The memory of a device is full; the message says what to try next."""


def is_full_memory(error: BaseException) -> bool:
    """Tell whether an error means that a memory is full.

    >>> is_full_memory(RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED"))
    True
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and FULL_MEMORY.search(str(error)) is not None


@contextmanager
def explains_full_memory(what: Callable[[], str], advice: Callable[[], str]) -> Iterator[None]:
    """Raise `FullMemoryError` for a full memory: `what` did not fit, and what to do next."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_full_memory(error):
            raise
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = ". ".join(first_line.split(". ")[:FULL_MEMORY_SENTENCES]).rstrip(".")
        raise FullMemoryError(
            f"expected {what()} to fit into the memory, got: {reason}; {advice()}"
        ) from error
