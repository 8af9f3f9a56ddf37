"""What `tools/make_depth.py` starts."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mmseg.preprocessing.depth_maps.jobs import PREVIEW_FILE, counted
from mmseg.preprocessing.depth_maps.make_maps import Options, make_maps
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.machine import usable_cores
from mmseg.system.options import LaunchOptions, option

TIMEOUT_MINUTES = 24 * 60.0  # the fastest process waits at the end for the slowest one
BATCH_SIZE = 8  # on a GPU; a CPU gains nothing, and takes seconds until a signal can end a batch
MAX_WORKERS = 16  # more than a GPU needs: each reads about 20 images of 2048x1024 in a second
# What the command line leaves open depends on the device, which is known later.
UNKNOWN: dict[str, Any] = {"batch_size": None, "workers": None}


@dataclass(frozen=True, kw_only=True)
class DepthOptions(Options, LaunchOptions):
    """The choices of the command line."""

    device: Any = option(None, "cpu, cuda, cuda:1 (default: a GPU if there is one)")
    from_disparity: bool = option(
        False,
        "IMAGES are maps made elsewhere (npy, tiff, 8- or 16-bit png; in a 16-bit png 0 means "
        "not measured): convert them",
        one_of="source",
    )

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.from_disparity and self.amp:
            raise ConfigError(
                "expected --amp for a network only, got it with --from-disparity. Leave it out."
            )


def depth_command(options: DepthOptions, say: Callable[[str], object]) -> None:
    """Make the maps, in all processes of the run."""
    with with_the_others():
        own = processes.init_from_environment(options.launcher, options.local_rank, TIMEOUT_MINUTES)
        summary = make_maps(completed(options, own), say)
        if count := len(summary.failures):
            words = f"No map of {counted(count, 'file')}, see above."
            sys.exit(words if processes.is_main() else 1)


def completed(options: DepthOptions, own: torch.device) -> DepthOptions:
    """Fill in what the command line left open, `own` being the device of this process."""
    device = choose_device(options.device, own)
    usual: dict[str, Any] = {
        "batch_size": 1 if device.type == "cpu" else BATCH_SIZE,
        "workers": usual_workers(None if options.from_disparity else device),
    }
    open_ones = {name: value for name, value in usual.items() if getattr(options, name) is None}
    if options.preview == Path():  # without a name
        open_ones["preview"] = options.out / PREVIEW_FILE
    return replace(options, device=device, **open_ones)


def choose_device(name: str | None, usual: torch.device) -> torch.device:
    """Return the device that a person named; None, and the type of the usual one, take that.

    So of several processes with `--device cuda` each takes its own GPU.
    """
    if name is None or name == usual.type:
        return usual
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"expected a device such as cpu, cuda or cuda:1, got --device {name}: {reason}. Leave "
            f"the option out for {usual}."
        ) from error
    return device


def usual_workers(device: torch.device | None) -> int:
    """Return how many processes read images, or convert maps (without a device).

    A CPU computes for seconds where reading takes 50 ms; its cores are for the network. The
    processes of a run on this machine share its cores.
    """
    if device is not None and device.type == "cpu":
        return 1
    cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MAX_WORKERS, cores))


@contextmanager
def with_the_others() -> Iterator[None]:
    """Leave the processes of the run when an error ends it, unless one of them is lost.

    They come to an error together, and each speaks for itself afterwards.
    """
    try:
        yield
    except processes.ProcessGroupError as error:
        raise processes.ProcessGroupError(
            f"Process {processes.rank()} of {processes.world_size()} has lost another one. Look at "
            "what that one said, and start the same command again."
        ) from error
    except BaseException:
        processes.shut_down()
        raise
