"""Seeds, versions and the revision of the code."""

import platform
import random
import subprocess
from pathlib import Path

import numpy as np
import torch

import mmseg
from mmseg import distributed


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch.

    Args:
        seed: any whole number.
        deterministic: also make torch choose algorithms that give the same bits every time.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def choose_seed(seed: int | None) -> int:
    """Return the given seed, or one drawn by the main process for all of them."""
    if seed is not None:
        return int(seed)
    return distributed.broadcast_object(int.from_bytes(random.randbytes(3), "little"))


def version_lines(device: torch.device) -> list[str]:
    """Return what a log should start with: versions, device and number of processes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return [
        f"cdda-seg {mmseg.__version__}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}, {platform.system()}",
        f"Device: {device} {name}; {distributed.world_size()} process(es), "
        f"{torch.get_num_threads()} thread(s) each",
    ]


def git_revision(folder: str | Path = ".") -> str | None:
    """Return the commit that is checked out in `folder`, with `+changes`, or None."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(folder, "status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: str | Path, *arguments: str) -> str:
    """Run a git command and return what it prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
