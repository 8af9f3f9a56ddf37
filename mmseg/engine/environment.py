"""Seeds, determinism, versions and the revision of the code."""

import os
import platform
import random
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmseg
from mmseg.engine.logs import get_logger
from mmseg.system import processes

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
# What torch says of operators that may give other bits next time.
NONDETERMINISTIC = ("deterministic implementation", "non-deterministic", "not deterministic")


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch.

    Args:
        seed: any whole number.
        deterministic: also make torch choose algorithms that give the same bits every time; call
            this before the first use of a GPU then.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        _choose_deterministic_algorithms()


def _choose_deterministic_algorithms() -> None:
    """Make torch repeat its bits, where it can."""
    # cuBLAS reads it once, when it is first used.
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # Under `warn_only` the backward passes of fused attention stay as they are: they add up in any
    # order. Plain matrix products do not.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True, warn_only=True)


def determinism_lines(device: torch.device, deterministic: bool) -> list[str]:
    """Return what the log should say about --deterministic; nothing without it."""
    if not deterministic:
        return []
    lines = [
        "--deterministic: the same command gives the same bits again. Not covered: another "
        "device or driver, another number of processes or threads, other versions of the "
        "packages, changed files."
    ]
    if device.type == "cuda":
        lines.append(
            "--deterministic: CUDA operators without a deterministic implementation still run; a "
            "warning in this log names each of them, and after one the bits may differ. Attention "
            "uses plain matrix products, which need more memory."
        )
    return lines


@contextmanager
def nondeterminism_in_log() -> Iterator[None]:
    """Write torch's warnings about operators that are not deterministic to the log, once each.

    Other warnings are shown as before.
    """
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, *rest: Any, **options: Any) -> None:
            text = str(message)
            if not any(phrase in text for phrase in NONDETERMINISTIC):
                show(message, *rest, **options)
            elif text not in said:
                said.add(text)
                get_logger().warning(f"Not deterministic: {text}")

        warnings.showwarning = note
        yield


def choose_seed(seed: int | None) -> int:
    """Return the given seed, or one drawn by the main process for all of them."""
    if seed is not None:
        return int(seed)
    return processes.broadcast_object(int.from_bytes(random.randbytes(3), "little"))


def version_lines(device: torch.device) -> list[str]:
    """Return what a log should start with: versions, device and number of processes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return [
        f"cdda-seg {mmseg.__version__}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}, {platform.system()}",
        f"Device: {device} {name}; {processes.world_size()} process(es), "
        f"{torch.get_num_threads()} thread(s) each",
    ]


def batch_size_warning(cfg: Mapping[str, Any]) -> str | None:
    """Say what the batch is where a run has another number of processes than its config is for.

    Args:
        cfg: `n_gpus`, which configs of this family carry, and `data.samples_per_gpu`.
    """
    planned, found = cfg.get("n_gpus"), processes.world_size()
    if planned is None or planned == found:
        return None
    samples = (cfg.get("data") or {}).get("samples_per_gpu", 1)
    return (
        f"The config is for n_gpus={planned}, but {found} process(es) run: a batch is "
        f"{found} x {samples} = {found * samples} images of each domain instead of "
        f"{planned * samples}. Learning rate and max_iters stay as the config says."
    )


def git_revision(folder: str | Path = ".") -> str | None:
    """Return the commit that is checked out in `folder`, with `+changes`, or None."""
    try:
        commit = git_output(folder, "rev-parse", "HEAD")
        changes = git_output(folder, "status", "--porcelain", "-uno")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def git_output(folder: str | Path, *arguments: str) -> str:
    """Run a git command in `folder` and return what it prints.

    Raises:
        OSError: without git.
        subprocess.SubprocessError: if it fails, for example outside of a checkout.
    """
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
