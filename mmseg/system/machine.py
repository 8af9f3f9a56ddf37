"""What this machine lets a process use: cores, memory, disk, files.

None stands for what the system does not tell. A container's limits are those of its control group
(either version) and of the groups above it.
"""

import math
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mmseg.system.workers import SHARED_MEMORY

try:
    import resource
except ModuleNotFoundError:  # Windows has none
    resource = None

GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
CPU_FACTS, MEMORY_FACTS = Path("/proc/cpuinfo"), Path("/proc/meminfo")
UNLIMITED = "max"


def cpu_model() -> str:
    """Return the name of the processor, or its architecture where no name is known."""
    for line in _lines(CPU_FACTS):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(min(allowed or 1, cpu_quota() or math.inf)))


def cpu_quota() -> float | None:
    """Return how many cores' worth of time the control groups allow."""
    quotas = []
    for folder in _groups("cpu"):
        words = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0] != UNLIMITED and int(words[0]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def installed_memory() -> int | None:
    """Return the bytes of memory of the machine."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_limit() -> int | None:
    """Return the bytes of memory that the control groups allow."""
    limits = []
    for folder in _groups("memory"):
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        limits += [int(word) for word in words if word != UNLIMITED]
    return min(limits, default=None)


def available_memory() -> int | None:
    """Return the bytes of the machine's memory that nobody needs now."""
    for line in _lines(MEMORY_FACTS):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 2**10
    return None


def free_disk(folder: Path) -> int:
    """Return the free bytes of the disk of a folder that exists."""
    return shutil.disk_usage(folder).free


def free_shared_memory() -> int | None:
    """Return the free bytes of the memory through which workers hand over samples."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None


def open_files() -> int | None:
    """Return how many files a process may have open at once."""
    return None if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def driver_version() -> str | None:
    """Return the version of the NVIDIA driver."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.split("\n")[0].strip()


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups for a controller, and those above."""
    for line in _lines(OWN_GROUP):
        _, controllers, inner = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = GROUPS / controller if controllers else GROUPS
        own = root / inner.lstrip("/")
        yield from (own, *(folder for folder in own.parents if folder.is_relative_to(root)))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # of another system, or not ours to read
        return []


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()
