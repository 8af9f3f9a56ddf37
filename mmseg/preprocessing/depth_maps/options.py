"""What a person can choose for a run."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

BATCH_SIZE = 8
MAX_WORKERS = 16  # more than a GPU needs: each reads about 20 images of 2048x1024 in a second


@dataclass(frozen=True)
class Options:
    """The choices of one run.

    inputs: folders and files; out: folder of the maps.
    model: folder or name of the network; None converts `inputs`, which are maps, instead.
    layout: see `find_jobs`; quantity: 'inverse' or 'metric', None for what is usual.
    workers: processes that read images; half as many write. 0 does everything in this process.
    preview: file of a contact sheet.
    """

    inputs: tuple[Path, ...]
    out: Path
    model: str | None = None
    layout: str | None = None
    quantity: str | None = None
    device: torch.device = torch.device("cpu")
    batch_size: int = BATCH_SIZE
    amp: bool = False
    workers: int = 0
    overwrite: bool = False
    preview: Path | None = None

    @property
    def is_from_maps(self) -> bool:
        """Whether the inputs are maps that exist already."""
        return self.model is None

    @property
    def writers(self) -> int:
        """How many processes write; of files also read and convert."""
        return self.workers if self.is_from_maps else (self.workers + 1) // 2

    def check(self) -> None:
        """Raise `ValueError` for choices that cannot be carried out."""
        if self.batch_size < 1:
            raise ValueError(f"expected --batch-size of at least 1, got {self.batch_size}.")
        if self.workers < 0:
            raise ValueError(f"expected --num-workers of at least 0, got {self.workers}.")
        if self.is_from_maps and self.amp:
            raise ValueError(
                "expected --amp for a network only, got it with --from-disparity; do leave it out."
            )


def choose_device(name: str | None, usual: torch.device) -> torch.device:
    """Return the device that a person named.

    Args:
        name: such as 'cpu', 'cuda' (of several processes each takes its own), 'cuda:1'; None takes
            the usual one.
        usual: the GPU of this process, or the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if name is None or name == usual.type:
        return usual
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(
            f"expected a device such as cpu, cuda or cuda:1, got --device {name}: {reason}; do "
            f"leave the option out for {usual}."
        ) from error
    return device


def usual_batch_size(device: torch.device) -> int:
    """Return how many images go through the network together where nobody says it.

    A CPU gains nothing from more than one, and takes seconds for each until a signal can end it.
    """
    return 1 if device.type == "cpu" else BATCH_SIZE


def usual_workers(device: torch.device | None, processes: int = 1) -> int:
    """Return how many processes read images (or convert maps) where nobody says it.

    A CPU computes for seconds where reading takes 50 ms; its cores are for the network.

    Args:
        device: that computes; None if maps are converted.
        processes: of the run on this machine, which share its cores.
    """
    if device is not None and device.type == "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MAX_WORKERS, (cores or 1) // processes))
