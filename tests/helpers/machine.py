"""Name what numbers depend on: processor, libraries, threads. `tests/run.sh` ends with it."""

import os
import platform
import re
from pathlib import Path

import torch


def machine() -> str:
    """Return one line about this machine and what computes on it."""
    mkldnn = "oneDNN" if torch.backends.mkldnn.is_available() else "no oneDNN"
    mkl = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    set_here = [f"{k}={os.environ[k]}" for k in SETTINGS if k in os.environ]
    return (
        f"Machine: {processor()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}; Python {platform.python_version()}, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()}, {mkldnn}, {mkl}), "
        f"{torch.get_num_threads()} threads" + "".join(f", {text}" for text in set_here)
    )


SETTINGS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR")


def processor() -> str:
    """Return the name of the processor; on Linux `platform.processor` often does not know it."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.is_file() else None
    return named[1] if named else platform.processor() or "unknown processor"


if __name__ == "__main__":
    print(machine())
