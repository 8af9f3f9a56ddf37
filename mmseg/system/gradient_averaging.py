"""Average gradients over the processes of a run: one flattened all-reduce per data type."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from mmseg.system import processes
from mmseg.system.device_copies import send


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes, after the last backward pass.

    A parameter without a gradient on some processes counts as 0 there; one without a gradient on
    all of them keeps none, so the optimizer skips it as it does in a run of one process.
    """
    if processes.world_size() == 1:
        return
    processes.barrier()
    groups: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for group in groups.values():
        _average_group(group)


def _average_group(parameters: list[nn.Parameter]) -> None:
    """Average the gradients of parameters of one data type and device."""
    first = parameters[0]
    is_here = [p.grad is not None for p in parameters]
    present = send(np.array(is_here), first.device).to(first.dtype)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), present])
    processes.all_reduce_mean(flat)
    *means, present = flat.split([p.numel() for p in parameters] + [len(parameters)])
    # Only a process that lacks a gradient has to ask (and wait) whether another one has it.
    is_anywhere = is_here if all(is_here) else (present > 0).tolist()
    for parameter, mean, is_used in zip(parameters, means, is_anywhere, strict=True):
        if is_used:
            parameter.grad = mean.view_as(parameter)
