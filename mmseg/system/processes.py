"""Share tensors between the processes of one run; everything is a no-op for a single process.

A launcher (`torchrun`, `accelerate launch`, SLURM) starts the processes; see `launchers`.

When a process is lost, the next collective raises `ProcessGroupError` in the others: at once if it
has ended (its connections close). If it hangs, `waiting` ends the others. NCCL notices only a long
timeout: its kernels wait on the device, and so does whoever reads a result. So the processes meet
with gloo (`barrier`) before they queue what they will wait for.
"""

import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmseg.system.full_memory import is_full_memory
from mmseg.system.interruption import Interruption
from mmseg.system.launchers import LauncherError, Place, find_place
from mmseg.system.waiting import Lookout, patience, second_connection, waiting

T = TypeVar("T")
LOOKOUTS: list[Lookout] = []  # of the group of this process

# Of one collective. `waiting` ends those that hang long before; a kernel of NCCL, which waits on
# the device, can only be ended so. Others wait while process 0 writes checkpoints or evaluates.
TIMEOUT_MINUTES = 30.0
# What the backends say when a process is gone; their errors have no type of their own.
LOST = re.compile(r"gloo|nccl|connection|timed out|timeout|peer|socket", re.IGNORECASE)


class ProcessGroupError(RuntimeError):
    """Another process of the run has ended or hangs, so this one cannot go on."""


def is_initialized() -> bool:
    """Tell whether this process belongs to a group."""
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
    launcher: str = "none", local_rank: int | None = None, timeout_minutes: float = TIMEOUT_MINUTES
) -> torch.device:
    """Join the process group that the environment describes and return the device to use.

    Without the variables of a launcher, the run has one process. The backend is NCCL for tensors
    on a GPU and gloo for tensors on the CPU.

    Args:
        launcher: 'slurm' reads SLURM's own variables; 'none' and 'pytorch' read those of torchrun.
        local_rank: the `--local_rank` passed by `torch.distributed.launch`.
        timeout_minutes: how long a process waits for others that go on.

    `LauncherError` when the variables contradict each other or the machine, or processes share a
    GPU; `ProcessGroupError` when the processes do not meet.
    """
    place = find_place(launcher, local_rank)
    has_gpu, device = torch.cuda.is_available(), torch.device("cpu")
    if has_gpu:
        count, index = torch.cuda.device_count(), 0 if place is None else place.local_rank
        if count != 1 and index >= count:
            raise LauncherError(
                f"expected one GPU per process, got LOCAL_RANK={index} on a machine with "
                f"{count} GPUs; start at most that many processes."
            )
        # The launcher may show each process its own GPU alone; `_require_own_gpu` checks.
        device = torch.device("cuda", 0 if count == 1 else index)
        torch.cuda.set_device(device)
    if place is None or place.world_size == 1 or is_initialized():
        return device
    _meet(place, "cpu:gloo,cuda:nccl" if has_gpu else "gloo", timedelta(minutes=timeout_minutes))
    if has_gpu:
        _require_own_gpu(device)
    return device


def _meet(place: Place, backend: str, timeout: timedelta) -> None:
    """Wait for the other processes at the store of process 0 or of the launcher; join the group."""
    from torch.distributed.rendezvous import rendezvous

    size, limit = place.world_size, patience()
    what = f"not all {size} processes have started within {limit:.0f} seconds (max_wait)"
    with (
        Interruption(),  # Python hears no signal while torch waits
        waiting(f"all {size} processes to start", has_nothing_to_lose=True),
        _explains_lost_processes(f"Process {place.rank} of {size}", what),
    ):
        start = rendezvous("env://", place.rank, size, timeout=timedelta(seconds=limit))
        store = next(start)[0]
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        LOOKOUTS.append(Lookout(second_connection(host, port, "lookout"), place.rank, size))
        LOOKOUTS[-1].start()
        start_group(backend, store=store, rank=place.rank, world_size=size, timeout=timeout)


def start_group(backend: str, **settings: Any) -> None:
    """Join a process group, with the `settings` of `torch.distributed.init_process_group`."""
    # Optimizers import this module. Its functions have the group of that moment as a default value
    # and would keep it until Python ends, which aborts the process now and then: a thread of gloo
    # still frees a tensor of the last collective. So it is imported while there is no group.
    import torch.distributed.nn.functional  # noqa: F401

    dist.init_process_group(backend, **settings)


def shut_down() -> None:
    """Leave the process group and end its threads; call it when the run ends without an error."""
    for lookout in LOOKOUTS:
        lookout.stop()
    LOOKOUTS.clear()
    if is_initialized():
        dist.destroy_process_group()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Replace `tensor` (in place) by its sum over all processes and return it."""
    return _all_reduce(tensor, dist.ReduceOp.SUM)


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Replace the floating-point `tensor` (in place) by its mean over all processes; return it.

    It is the mean over all images only if every process has equally many of them.
    """
    return all_reduce_sum(tensor).div_(world_size()) if world_size() > 1 else tensor


def all_reduce_max(tensor: Tensor) -> Tensor:
    """Replace `tensor` (in place) by its maximum over all processes and return it."""
    return _all_reduce(tensor, dist.ReduceOp.MAX)


def any_process(is_true: bool) -> bool:
    """Tell on every process whether `is_true` holds on any of them.

    The number travels on the CPU, so nobody waits for a device; processes that have ended are
    noticed here.
    """
    return bool(all_reduce_max(torch.tensor(int(is_true)))) if world_size() > 1 else is_true


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
    """Return process 0's `value` (any small picklable object) on every process."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    with _with_the_others():
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def gather_objects(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _with_the_others():
        dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait until every process has come here, without waiting for a device."""
    all_reduce_sum(torch.zeros(1))


def _all_reduce(tensor: Tensor, operation: Any) -> Tensor:
    if world_size() > 1:
        with _with_the_others():
            dist.all_reduce(tensor, operation)
    return tensor


def _broadcast(tensors: Iterable[Tensor]) -> None:
    if world_size() > 1:
        barrier()
        with _with_the_others():
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)


@contextmanager
def _explains_lost_processes(
    who: str | None = None, what: str = "another process has ended or hangs"
) -> Iterator[None]:
    """Turn what a backend says about a lost process into a `ProcessGroupError`."""
    try:
        yield
    except RuntimeError as error:
        is_lost = isinstance(error, dist.DistError) or LOST.search(str(error))
        if not is_lost or is_full_memory(error):
            raise  # this process's own: a bug, or a full memory
        who = who or f"Process {rank()} of {world_size()}"
        # gloo's message begins with its own file in brackets and ends with advice about bugs.
        first_line = str(error).strip().splitlines()[0]
        reason = re.sub(r"^\[\S*\] *", "", first_line).split(". ")[0].rstrip(".")
        raise ProcessGroupError(
            f"{who}: {what}; look at its log, and start again with --resume auto ({reason})."
        ) from error


@contextmanager
def _with_the_others() -> Iterator[None]:
    """Wait for the other processes in a collective."""
    with waiting("the other processes"), _explains_lost_processes():
        yield


def _require_own_gpu(device: torch.device) -> None:
    """Raise, on all processes, if any of them share a GPU: NCCL cannot serve both.

    A process that sees one GPU cannot know whether others see it too, so they compare.
    """
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    gpus = gather_objects((socket.gethostname(), uuid))
    for host, own in dict.fromkeys(gpus):
        ranks = [number for number, gpu in enumerate(gpus) if gpu == (host, own)]
        if len(ranks) > 1:
            raise LauncherError(
                "expected one GPU per process, got one for the processes "
                f"{', '.join(map(str, ranks))} on the machine {host}; start at most as many "
                "processes as it has GPUs, and let each see all of them or one of its own."
            )
