"""Share tensors between the processes of one run; everything is a no-op for a single process.

A launcher (`torchrun`, `accelerate launch`, SLURM) starts the processes, see `mmseg.launchers`.
Gradients are averaged by one flattened all-reduce per data type after the last backward pass of an
iteration.

A process that loses another one learns it from the next collective, which then raises
`ProcessGroupError`: at once where the other has ended (its connections close), after
`TIMEOUT_MINUTES` where it hangs. NCCL knows only the latter: its kernels wait on the device, and
with them whoever reads a result. So the processes meet with gloo (`barrier`) before they queue what
they will wait for.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmseg.launchers import LauncherError, find_place

T = TypeVar("T")

# Longer than any wait of a healthy run. Processes meet in every iteration, so they wait for the
# slowest one only while it does what the others do not: process 0 writes checkpoints (1.5 GB and
# two copies take 4 minutes at 20 MB/s) or verifies those it resumes from, reads the fingerprint of
# a data set, or has the one image more of an evaluation, whose images are dealt out evenly. A
# larger number would help nobody: an ended process is noticed at once, only a hanging one or a
# machine without power costs this time.
TIMEOUT_MINUTES = 10.0
# What the backends say when a process is gone; their errors have no type of their own.
LOST = re.compile(r"gloo|nccl|connection|timed out|timeout|peer|socket", re.IGNORECASE)


class ProcessGroupError(RuntimeError):
    """Another process of the run has ended or hangs, so that this one cannot go on."""


def is_initialized() -> bool:
    """Tell whether this process is one of a group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process, 0 … world_size() - 1."""
    return dist.get_rank() if is_initialized() else 0


def world_size() -> int:
    """Return the number of processes of the run."""
    return dist.get_world_size() if is_initialized() else 1


def is_main() -> bool:
    """Tell whether this process is the one that writes logs and files."""
    return rank() == 0


def init_from_environment(
    launcher: str = "none",
    local_rank: int | None = None,
    timeout_minutes: float = TIMEOUT_MINUTES,
) -> torch.device:
    """Join the process group that the environment describes and return the device to use.

    Without the variables of a launcher, the run has one process. The backend is NCCL for tensors
    on a GPU and gloo for tensors on the CPU.

    Args:
        launcher: 'slurm' reads SLURM's own variables; 'none' and 'pytorch' read those of torchrun.
        local_rank: what `torch.distributed.launch` gave as `--local_rank`.
        timeout_minutes: how long a process waits for the others before it ends with an error.

    Raises:
        LauncherError: when the variables contradict each other or the machine.
        ProcessGroupError: when the processes do not meet.
    """
    place = find_place(launcher, local_rank)
    has_gpu = torch.cuda.is_available()
    index = 0 if place is None else place.local_rank
    if launcher == "slurm" and torch.cuda.device_count() == 1:
        index = 0  # --gpus-per-task=1 shows each task its own GPU only
    if has_gpu:
        _check_gpu(index)
        torch.cuda.set_device(index)
    device = torch.device("cuda", index) if has_gpu else torch.device("cpu")
    if place is None or place.world_size == 1 or is_initialized():
        return device
    with _names_lost_processes(f"Process {place.rank} of {place.world_size}"):
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
            rank=place.rank,
            world_size=place.world_size,
            timeout=timedelta(minutes=timeout_minutes),
        )
    return device


def shut_down() -> None:
    """Leave the process group; call it when the run ends without an error."""
    if is_initialized():
        dist.destroy_process_group()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Replace `tensor` (in place) by its sum over all processes and return it."""
    if world_size() > 1:
        _all_reduce(tensor)
    return tensor


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Replace the floating-point `tensor` (in place) by its mean over all processes; return it.

    It is the mean over all images only if every process has equally many of them.
    """
    if world_size() > 1:
        _all_reduce(tensor)
        tensor.div_(world_size())
    return tensor


def all_reduce_max(tensor: Tensor) -> Tensor:
    """Replace `tensor` (in place) by its maximum over all processes and return it."""
    if world_size() > 1:
        _all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def any_process(flag: bool) -> bool:
    """Tell on every process whether `flag` is True on any of them.

    The number travels on the CPU, so nobody waits for a device; processes that have ended are
    noticed here.
    """
    return bool(all_reduce_max(torch.tensor(int(flag)))) if world_size() > 1 else flag


def broadcast_module(module: nn.Module) -> None:
    """Give every process the parameters and buffers of process 0."""
    _broadcast((*module.parameters(), *module.buffers()))


def broadcast_buffers(module: nn.Module) -> None:
    """Give every process the buffers of process 0.

    Batch norm's running statistics differ between processes, because each has seen its own images.
    Those of process 0 are in the checkpoints; an evaluation that is shared has to use them too.
    """
    _broadcast(module.buffers())


def broadcast_object(value: T) -> T:
    """Return process 0's `value` on every process (any small picklable object)."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    with _names_lost_processes():
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def gather_objects(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _names_lost_processes():
        dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait until every process has come here, without waiting for a device."""
    all_reduce_sum(torch.zeros(1))


def reduce_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes.

    A parameter without a gradient on some processes counts as 0 there; one without a gradient on
    all of them keeps none, so that the optimizer skips it as it does in a run of one process.
    """
    if world_size() == 1:
        return
    barrier()
    groups: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for group in groups.values():
        _reduce_group(group)


def _reduce_group(parameters: list[nn.Parameter]) -> None:
    """Average the gradients of parameters of one data type and device with one all-reduce."""
    first = parameters[0]
    is_here = [p.grad is not None for p in parameters]
    present = torch.tensor(is_here, dtype=first.dtype, device=first.device)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), present])
    all_reduce_mean(flat)
    *means, present = flat.split([p.numel() for p in parameters] + [len(parameters)])
    # Only a process that lacks a gradient has to ask (and wait) whether another one has it.
    is_anywhere = is_here if all(is_here) else (present > 0).tolist()
    for parameter, mean, is_used in zip(parameters, means, is_anywhere, strict=True):
        if is_used:
            parameter.grad = mean.view_as(parameter)


def _all_reduce(tensor: Tensor, operation: Any = dist.ReduceOp.SUM) -> None:
    with _names_lost_processes():
        dist.all_reduce(tensor, operation)


def _broadcast(tensors: Iterable[Tensor]) -> None:
    if world_size() > 1:
        barrier()
        with _names_lost_processes():
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)


@contextmanager
def _names_lost_processes(who: str | None = None) -> Iterator[None]:
    """Turn what a backend says about a lost process into a `ProcessGroupError`."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or LOST.search(str(error))):
            raise  # a mistake of the program, for example a tensor that the backend cannot take
        who = who or f"Process {rank()} of {world_size()}"
        # gloo's begins with its own file in brackets and ends with advice about bugs.
        first_line = str(error).strip().splitlines()[0]
        reason = re.sub(r"^\[\S*\] *", "", first_line).split(". ")[0].rstrip(".")
        raise ProcessGroupError(
            f"{who}: another process has ended or hangs; look at its log, and start again with "
            f"--resume auto ({reason})."
        ) from error


def _check_gpu(index: int) -> None:
    """Raise if this machine has no GPU of its own for this process."""
    if index >= torch.cuda.device_count():
        raise LauncherError(
            f"expected one GPU per process, got LOCAL_RANK={index} on a machine with "
            f"{torch.cuda.device_count()} GPUs; start at most that many processes."
        )
