"""Share tensors between the processes of one run; everything is a no-op for a single process.

A launcher (`torchrun`, `accelerate launch`, SLURM) starts the processes and tells each of them its
place through environment variables. Gradients are averaged by one flattened all-reduce per data
type after the last backward pass of an iteration.
"""

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SLURM_VARIABLES = {
    "RANK": "SLURM_PROCID",
    "WORLD_SIZE": "SLURM_NTASKS",
    "LOCAL_RANK": "SLURM_LOCALID",
    "MASTER_ADDR": "SLURM_LAUNCH_NODE_IPADDR",
}
LAUNCHERS = ("none", "pytorch", "slurm")
HINT = "Start the processes with torchrun, or unset these variables for a run of one process."


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


def init_from_environment(launcher: str = "none", timeout_minutes: float = 60) -> torch.device:
    """Join the process group that the environment describes and return the device to use.

    Without the variables of a launcher, the run has one process. The backend is NCCL for tensors
    on a GPU and gloo for tensors on the CPU.

    Args:
        launcher: 'slurm' reads SLURM's own variables; 'none' and 'pytorch' read those of torchrun.
        timeout_minutes: how long a process waits for the others before it ends with an error.

    Raises:
        RuntimeError: when the variables contradict each other or the machine.
    """
    if launcher not in LAUNCHERS:
        raise RuntimeError(f"expected a launcher among {', '.join(LAUNCHERS)}, got {launcher!r}.")
    if launcher == "slurm":
        _read_slurm_variables()
    place = _place_from_environment()
    has_gpu = torch.cuda.is_available()
    local_rank = place[2] if place else 0
    if has_gpu:
        _check_gpu(local_rank)
        torch.cuda.set_device(local_rank)
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    if place is None or place[1] == 1 or is_initialized():
        return device
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
        rank=place[0],
        world_size=place[1],
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
        dist.all_reduce(tensor)
    return tensor


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Replace the floating-point `tensor` (in place) by its mean over all processes; return it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
        tensor.div_(world_size())
    return tensor


def all_reduce_max(tensor: Tensor) -> Tensor:
    """Replace `tensor` (in place) by its maximum over all processes and return it."""
    if world_size() > 1:
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor


def broadcast_module(module: nn.Module) -> None:
    """Give every process the parameters and buffers of process 0."""
    if world_size() > 1:
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor.detach(), src=0)


def broadcast_object(value: T) -> T:
    """Return process 0's `value` on every process (any small picklable object)."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def gather_objects(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        dist.barrier()


def reduce_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes.

    A parameter without a gradient on some processes counts as 0 there; one without a gradient on
    all of them keeps none, so that the optimizer skips it as it does in a run of one process.
    """
    if world_size() == 1:
        return
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


def _read_slurm_variables() -> None:
    """Set torchrun's variables from those of SLURM."""
    for name, slurm_name in SLURM_VARIABLES.items():
        if name in os.environ:
            continue
        if slurm_name not in os.environ:
            raise RuntimeError(
                f"expected the variable {slurm_name} under --launcher slurm, got none; "
                "start the run with srun."
            )
        os.environ[name] = os.environ[slurm_name]
    os.environ.setdefault("MASTER_PORT", "29500")


def _place_from_environment() -> tuple[int, int, int] | None:
    """Return (rank, world size, local rank), or None for a run of one process."""
    found = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if "RANK" not in found and "WORLD_SIZE" not in found:
        return None
    missing = [name for name in VARIABLES if name not in found and name != "LOCAL_RANK"]
    if missing:
        raise RuntimeError(
            f"expected the variables {', '.join(VARIABLES)} together, got "
            f"{', '.join(found)} without {', '.join(missing)}. {HINT}"
        )
    try:
        place = int(found["RANK"]), int(found["WORLD_SIZE"]), int(found.get("LOCAL_RANK", 0))
        int(found["MASTER_PORT"])
    except ValueError as error:
        raise RuntimeError(f"expected whole numbers, got {found}: {error}. {HINT}") from error
    if not 0 <= place[0] < place[1] or not 0 <= place[2] < place[1]:
        raise RuntimeError(
            f"expected 0 <= RANK, LOCAL_RANK < WORLD_SIZE, got RANK={place[0]}, "
            f"LOCAL_RANK={place[2]}, WORLD_SIZE={place[1]}. {HINT}"
        )
    return place


def _check_gpu(local_rank: int) -> None:
    """Raise if this machine has no GPU of its own for this process."""
    if local_rank >= torch.cuda.device_count():
        raise RuntimeError(
            f"expected one GPU per process, got LOCAL_RANK={local_rank} on a machine with "
            f"{torch.cuda.device_count()} GPUs; start at most that many processes."
        )
