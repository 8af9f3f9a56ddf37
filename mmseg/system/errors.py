"""Which errors are sentences for the user, and which are mistakes of the program."""

import difflib
import pickle
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parents[1]
# What torch.load raises for a file that is cut off or corrupt: a pickle is a program, and one with
# a wrong byte does anything but what it should.
CUT_OFF = (
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    struct.error,
)
UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, *CUT_OFF)
# How CUDA and its libraries, and the allocators of CPUs, say it in a plain RuntimeError.
FULL_MEMORY = re.compile(
    r"out of memory|(can't|cannot) allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE
)
FULL_MEMORY_SENTENCES = 3  # of torch's message: what was asked for, what there is


class ConfigError(ValueError):
    """A config says something that cannot be built."""


class FullMemoryError(ValueError):
    """The memory of a device is full; the message says what to try next."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint: `; did you mean 'x'?` for the most similar known name, else all of them."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known names are {', '.join(sorted(names))}." if names else "."


def is_for_user(error: BaseException) -> bool:
    """Tell whether the message of an error says what to do, so that nobody needs a traceback.

    That is so for errors of files and of configs, and for every ValueError or ImportError that
    this package raises itself. One that comes out of a library is a mistake of the program.
    """
    if isinstance(error, ConfigError | OSError):
        return True
    return isinstance(error, ValueError | ImportError) and _is_raised_here(error)


def reason_unreadable(error: BaseException) -> str:
    """Say in a few words why torch.load refused a file."""
    if isinstance(error, CUT_OFF) or not str(error).strip():
        return "it is cut off, or torch.save did not write it"
    # torch puts its advice around the sentence that says what is wrong.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return text.splitlines()[0].strip().partition(". ")[0]


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
    """Turn what torch says about a full memory into a sentence.

    Args:
        what: names what should have fitted, and into which memory.
        advice: says what to do next.

    Raises:
        FullMemoryError: with that sentence.
    """
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


def _is_raised_here(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(PACKAGE)
