"""What the GPUs of this machine can do."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from mmseg.apis.doctor.items import BROKEN, OK, WARNING, Item
from mmseg.apis.doctor.needs import Needs
from mmseg.engine.precision import BFLOAT16_SINCE
from mmseg.system.machine import driver_version

GB = 1e9
FREE_ENOUGH = 0.9  # of a GPU's memory; less means that somebody else is on it
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)[af]?")
NEWER = "Install a PyTorch build for it: https://pytorch.org/get-started/locally"
GIVEN_BACK = "Other programs hold the rest: look with nvidia-smi"
LESS = "See docs/training.md#less-memory, or use a larger GPU"


@dataclass(frozen=True)
class Gpu:
    """A GPU as torch sees it; memory in bytes."""

    name: str
    memory: int
    free: int
    capability: tuple[int, int]
    has_kernels: bool  # whether this build of torch runs on it

    @property
    def has_bfloat16(self) -> bool:
        """Whether it computes in bfloat16 itself."""
        return self.capability >= BFLOAT16_SINCE


def find_gpus() -> tuple[list[Gpu], str]:
    """Return the GPUs that torch sees, and what it says if it sees none ("" if nothing)."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if not torch.cuda.is_available():
            return [], " ".join(str(one.message).split(" (Triggered")[0] for one in said[:1])
    kernels, gpus = torch.cuda.get_arch_list(), []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        free, memory = torch.cuda.mem_get_info(index)
        capability = (facts.major, facts.minor)
        gpus.append(Gpu(facts.name, memory, free, capability, runs_on(capability, kernels)))
    return gpus, ""


def runs_on(capability: tuple[int, int], kernels: Sequence[str]) -> bool:
    """Tell whether kernels for some architectures run on a GPU of a capability.

    Code for a GPU runs on later ones of its generation, code for compilers on all later ones.

    >>> [runs_on((8, 6), k) for k in (["sm_80"], ["sm_90"], ["sm_75"], ["compute_75"])]
    [True, False, False, True]
    """
    for kind, major, minor in (m.groups() for m in map(ARCHITECTURE.fullmatch, kernels) if m):
        own = (int(major), int(minor))
        if own <= capability and (kind == "compute" or own[0] == capability[0]):
            return True
    return False


def gpu_items(needs: Needs | None) -> Iterator[Item]:
    """Yield what there is of GPUs, and whether it is enough."""
    gpus, reason = find_gpus()
    driver = driver_version()
    if not gpus:
        yield _without_gpu(driver, reason)
    for number, gpu in enumerate(gpus):
        yield _gpu_item(number, gpu, driver, needs)
    if needs is not None:
        yield _memory_item(gpus, needs)


def _without_gpu(driver: str | None, reason: str) -> Item:
    """Return that there is no GPU; with a driver there is one, which torch cannot use."""
    if driver is None and not reason:
        return Item(OK, "GPU", "none; everything runs on the CPU, slowly")
    build = f"its build is for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
    said = f": {reason}" if reason else ""
    text = (
        f"expected torch to use the GPU of driver {driver or 'unknown'}, got none ({build}){said}"
    )
    return Item(WARNING, "GPU", f"{text.rstrip('.')}. {NEWER}, or update the driver.")


def _gpu_item(number: int, gpu: Gpu, driver: str | None, needs: Needs | None) -> Item:
    half = "bfloat16" if gpu.has_bfloat16 else "float16, no bfloat16"
    major, minor = gpu.capability
    text = (
        f"{gpu.name}, {gpu.memory / GB:.1f} GB, {gpu.free / GB:.1f} GB of them free, compute "
        f"capability {major}.{minor}, {half}, driver {driver or 'unknown'}"
    )
    name = f"GPU {number}"
    if not gpu.has_kernels:
        return Item(BROKEN, name, f"{text}; this build of torch does not run on it. {NEWER}.")
    if needs is not None and needs.half == "bfloat16" and not gpu.has_bfloat16:
        advice = "but amp.dtype='bfloat16' needs 8.0. Set amp.dtype='float16', or amp=None."
        return Item(BROKEN, name, f"{text}; {advice}")
    if gpu.free < FREE_ENOUGH * gpu.memory:
        return Item(WARNING, name, f"{text}. {GIVEN_BACK}.")
    return Item(OK, name, text)


def _memory_item(gpus: Sequence[Gpu], needs: Needs) -> Item:
    """Return whether the memory of a GPU is enough, as far as anybody knows."""
    if needs.gpu_memory is None:
        return Item(OK, "GPU memory", "not known for this config: nobody has measured it")
    needed, source = needs.gpu_memory
    text = f"about {needed} GB, as {source}; not measured with this one"
    if gpus and max(gpu.memory for gpu in gpus) < needed * GB:
        return Item(WARNING, "GPU memory", f"{text}, which no GPU here has. {LESS}.")
    return Item(OK, "GPU memory", text)
