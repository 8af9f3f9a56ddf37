"""Whole runs of `tools/train.py` in their own processes, on a few generated images."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import small_runs
import tiny_run
import torch
from acceptance import ROOT
from acceptance.bench import Bench
from torch.utils._pytree import tree_leaves

METHOD = "mic"  # CDDA and MIC on HRDA, with feature distance and dropout: everything there is
LENGTH, HALF = 4, 2  # iterations
LONGEST = 150.0  # seconds for a command that usually takes ten


def deterministic_runs(bench: Bench) -> None:
    """Train, train again, and resume from the middle, all with --deterministic."""
    material, folder = bench.folder / "material", bench.folder / "runs"
    small_runs.write_material(material)
    sections: dict[str, Any] = {
        "runner": {"max_iters": LENGTH},
        "checkpoint_config": {"interval": HALF},
        "data": {"workers_per_gpu": 1},
    }
    values = small_runs.config(material, METHOD, **sections)
    config = tiny_run.write_config(bench.folder / "deterministic.py", values)
    whole, again, parts = (folder / name for name in ("whole", "again", "parts"))
    _train(bench, config, whole)
    _check_checkpoint(bench, whole / f"iter_{LENGTH}.pth")
    parts.mkdir()
    shutil.copy(whole / f"iter_{HALF}.pth", parts / "latest.pth")
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(_train, bench, config, again),
            pool.submit(_train, bench, config, parts, "--resume", "auto"),
        ]
        for job in jobs:
            job.result()
    _check_same(bench, "--deterministic gives the same bits again", whole, again)
    _check_same(bench, "--resume gives the bits of the uninterrupted run", whole, parts)


def _train(bench: Bench, config: Path, work_dir: Path, *options: str) -> None:
    """Run the command."""
    command = [sys.executable, "tools/train.py", str(config), "--work-dir", str(work_dir)]
    command += ["--deterministic", "--no-validate", *options]
    environment = dict(os.environ)
    if bench.is_dry:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=max(1.0, min(LONGEST, bench.clock.left())),
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def _check_same(bench: Bench, claim: str, first: Path, second: Path) -> None:
    """Compare checkpoints and logged values bit by bit."""
    name = f"iter_{LENGTH}.pth"
    different = small_runs.differences(first / name, second / name)
    is_logged_alike = small_runs.logged(first) == small_runs.logged(second)
    shown = ", ".join(different[:3]) or "none"
    detail = f"different values in the checkpoint: {len(different)} ({shown}); the logs are "
    detail += f"{'equal' if is_logged_alike else 'different'}; {_nondeterministic(first)}"
    bench.record.check(claim, not different and is_logged_alike, detail)


def _nondeterministic(work_dir: Path) -> str:
    """Name the operators that the log calls not deterministic."""
    lines = [line for log in work_dir.glob("*.log") for line in log.read_text().splitlines()]
    said = [line.partition("Not deterministic: ")[2].split(" ")[0] for line in lines]
    names = ", ".join(filter(None, said))
    return f"operators that torch calls not deterministic: {names or 'none'}"


def _check_checkpoint(bench: Bench, file: Path) -> None:
    """Check that a machine without a GPU could read a checkpoint."""
    content = torch.load(file, weights_only=True)
    tensors = [leaf for leaf in tree_leaves(content) if isinstance(leaf, torch.Tensor)]
    elsewhere = sorted({str(t.device) for t in tensors} - {"cpu"})
    detail = f"{len(tensors)} tensors, devices besides the CPU: {', '.join(elsewhere) or 'none'}"
    bench.record.check("a checkpoint holds CPU tensors only", not elsewhere, detail)
