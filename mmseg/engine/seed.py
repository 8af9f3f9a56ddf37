"""The seed of a run (the default of `--seed` is here), and what `--deterministic` switches on."""

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.logs import get_logger
from mmseg.system import processes

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
# How torch describes operators whose bits may differ next time.
NONDETERMINISTIC = ("deterministic implementation", "non-deterministic", "not deterministic")


def choose_seed(stated: int | None, checkpoint: Path | None = None) -> int:
    """Return the seed of a run, the same on every process.

    It is the one of the command line or config, else that of the resumed checkpoint, else a random
    one below 2^24.
    """
    if stated is None and checkpoint is not None:
        stated = read_checkpoint(checkpoint).get("seed")
    if stated is not None:
        return int(stated)
    return processes.broadcast_object(int.from_bytes(random.randbytes(3), "little"))


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch with any whole number.

    `deterministic` also makes torch choose algorithms that give the same bits every time; then call
    this before the first use of a GPU.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if not deterministic:
        return
    # cuBLAS reads it once, when it is first used.
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # `warn_only` does not change the backward passes of fused attention, which add up in any order.
    # Plain matrix products do not.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would also fill new memory with NaN, a kernel for each tensor, against results that depend
    # on what lay there before. No operator of ours reads memory that it has not written.
    filling: Any = torch.utils.deterministic  # whose types lack this property
    filling.fill_uninitialized_memory = False


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
    """Log each of torch's warnings about nondeterministic operators once; show other warnings."""
    logged: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, *rest: Any, **options: Any) -> None:
            text = str(message)
            if not any(phrase in text for phrase in NONDETERMINISTIC):
                show(message, *rest, **options)
            elif text not in logged:
                logged.add(text)
                get_logger().warning(f"Not deterministic: {text}")

        warnings.showwarning = note
        yield
