"""Start Python on the runtime that computes nothing."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stub_gpu.build import DRIVER, MANAGEMENT, RUNTIME, ensure
from stub_gpu.cases import ROOT, Case


def run(arguments: Sequence[str], memory_gb: float | None = None) -> str:
    """Run Python with these arguments on the runtime, and return what it prints.

    `memory_gb` is the memory of the device in GB of 10⁹ bytes. `RuntimeError` if it fails.
    """
    folder = ensure()
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(str(folder / name) for name in (RUNTIME, DRIVER, MANAGEMENT)),
        "CUDA_VISIBLE_DEVICES": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")]),
    }
    if memory_gb is not None:
        environment["STUB_GPU_MEMORY_MIB"] = str(int(memory_gb * 1e9) >> 20)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"expected `{' '.join(command)}` to succeed, got:\n{done.stderr}")
    return done.stdout


def measure(cases: Sequence[Case], memory_gb: float | None = None) -> list[dict[str, Any]]:
    """Return what each case asks of the device: the rows of `measure.measured`."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, found = Path(folder) / "cases.json", Path(folder) / "found.json"
        wanted.write_text(json.dumps([asdict(case) for case in cases]), encoding="utf-8")
        run(["-m", "stub_gpu.measure", str(wanted), str(found)], memory_gb)
        return json.loads(found.read_text(encoding="utf-8"))
