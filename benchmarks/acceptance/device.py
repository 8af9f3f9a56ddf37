"""What only a CUDA device knows; on a CPU, these functions return the closest substitute."""

import gc
import math
import platform
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch

from mmseg.engine.meters import memory_in_use
from mmseg.engine.precision import half_for
from mmseg.system.machine import driver_version, usable_cores

FULL = ("out of memory", "alloc_failed")  # what torch, cuDNN and cuBLAS say
READ = "called a synchronizing CUDA operation"  # how torch's sync debug mode reports each read


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device computes in bfloat16 itself."""
    return half_for(device) == "bfloat16"


def allow_tf32(is_allowed: bool) -> None:
    """Set whether float32 products and convolutions may round their inputs to 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = is_allowed
    torch.backends.cudnn.allow_tf32 = is_allowed


def start_memory(device: torch.device) -> None:
    """Free unused memory and restart the measurement of the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def memory(device: torch.device) -> dict[str, float | None]:
    """Return the peaks since `start_memory` in GB of 10⁹ bytes, on a CPU that of the process."""
    allocated = (memory_in_use(device) or math.nan) * 2**20 / 1e9
    reserved = torch.cuda.max_memory_reserved(device) / 1e9 if device.type == "cuda" else None
    return {"allocated_gb": allocated, "reserved_gb": reserved}


def host_reads(device: torch.device, task: Callable[[], object]) -> list[str] | None:
    """Return the places where a task waits for the device; None on a CPU."""
    if device.type != "cuda":
        task()
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            task()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{w.filename}:{w.lineno}" for w in caught if READ in str(w.message)]


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or what caused it, is that the device's memory is full."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        says_so = any(phrase in str(error).lower() for phrase in FULL)
        if isinstance(error, RuntimeError) and says_so:
            return True
        error = error.__cause__ or error.__context__
    return False


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the device, the system and the versions of what computes."""
    cpu = platform.processor() or platform.machine()
    known: dict[str, Any] = {
        "device": cpu,
        "cpu": cpu,
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "cuda": torch.version.cuda,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        known |= {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gb": properties.total_memory / 1e9,
            "multiprocessors": properties.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),
            "driver": driver_version(),
        }
    return known
