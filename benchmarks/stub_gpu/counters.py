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


def take_peaks() -> Counts:
    """Return the peaks in MiB of torch's memory since the last call.

    `peak_mib` is that of tensors, `reserved_mib` of what torch took from the device, with what is
    free between them. `retries` says how often it had to return free memory to find more.
    """
    peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    retries = torch.cuda.memory_stats()["num_alloc_retries"]
    torch.cuda.reset_peak_memory_stats()
    return {"peak_mib": peak >> 20, "reserved_mib": reserved >> 20, "retries": retries}
