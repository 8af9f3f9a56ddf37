"""What the runtime has counted; only for Python that `child` has started on it."""

import ctypes
from collections.abc import Callable

import torch

# By the names of `runtime/stub.h`.
COUNTED = (
    "launches",  # kernels, and products and convolutions of libraries
    "fills",  # of memory with one value
    "device_copies",  # from the device to itself
    "waits",  # for a stream, an event, or the device
    "reads",  # copies from the device to the host
    "pageable_copies",  # to or from the host's pageable memory
    "uploaded_bytes",  # from the host to the device
)
Counts = dict[str, int]


def count_now() -> Counts:
    """Return everything counted since the process started."""
    runtime = ctypes.CDLL(None)
    return {name: ctypes.c_long.in_dll(runtime, f"stub_{name}").value for name in COUNTED}


def difference(after: Counts, before: Counts) -> Counts:
    """Return what was counted between two moments."""
    return {name: after[name] - before[name] for name in COUNTED}


def count(task: Callable[[], object]) -> Counts:
    """Return what a task asks of the device."""
    before = count_now()
    task()
    return difference(count_now(), before)


def measure(task: Callable[[], object]) -> Counts:
    """Return what a task asks of the device, and its peak in MiB of torch's memory.

    `reserved_mib` is what torch has taken from the device, also before the task.
    """
    torch.cuda.reset_peak_memory_stats()
    counts = count(task)
    peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return {**counts, "peak_mib": peak >> 20, "reserved_mib": reserved >> 20}
