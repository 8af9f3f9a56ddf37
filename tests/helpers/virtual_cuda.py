"""What `torch.cuda` and its like say while a `VirtualDevice` is in use."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

PINNED = "is_pinned_memory"  # attribute of a storage that the GPU reads without the host
NAME, CAPABILITY, MEMORY = "Virtual GPU", (8, 0), 8 * 10**9
PROPERTIES = SimpleNamespace(name=NAME, total_memory=MEMORY, uuid="GPU-virtual", major=8, minor=0)


@contextmanager
def pretend_cuda(
    holds: Callable[[Any], bool], take: Callable[[Any], Any], wait: Callable[[str], None]
) -> Iterator[None]:
    """Answer for the GPU as long as the context lasts.

    Args:
        holds: tells whether the GPU has a storage.
        take: gives it one.
        wait: is told the name of a function that waits for the GPU.
    """
    answers = {
        torch.cuda: {
            "is_available": True, "device_count": 1, "current_device": 0, "set_device": None,
            "get_device_name": NAME, "get_device_capability": CAPABILITY,
            "get_device_properties": PROPERTIES, "is_bf16_supported": True,
            "mem_get_info": (MEMORY, MEMORY), "max_memory_allocated": 0, "memory_allocated": 0,
            "reset_peak_memory_stats": None, "empty_cache": None,
            "is_current_stream_capturing": False, "stream": nullcontext(),
        },
        torch.accelerator: {
            "is_available": True, "current_accelerator": torch.device("cuda"),
            "current_device_index": 0, "set_device_index": None,
        },
    }  # fmt: skip
    with ExitStack() as changes:

        def change(owner: Any, name: str, value: Any) -> None:
            if hasattr(owner, name):  # some came with later versions of torch
                changes.enter_context(mock.patch.object(owner, name, value))

        for owner, named in answers.items():
            for name, value in named.items():
                change(owner, name, _answer(value))
        for owner, name in (
            (torch.cuda, "Stream"), (torch.cuda, "current_stream"), (torch.cuda, "Event"),
            (torch.accelerator, "current_stream"),
        ):  # fmt: skip
            change(owner, name, lambda *args, **kwargs: _Queue(wait))
        change(torch.cuda, "synchronize", lambda device=None: wait("synchronize"))
        change(torch, "autocast", _autocast)
        change(Tensor, "pin_memory", _pinned)
        change(Tensor, "record_stream", _answer(None))
        change(torch._C, "_group_tensors_by_device_and_dtype", _group)
        kinds = torch.serialization._package_registry
        file_kind = _file_kind(holds, take)
        change(torch.serialization, "_package_registry", [file_kind, *kinds])
        yield


def _answer(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


class _Queue:
    """A stream or an event, where all work is done at once."""

    def __init__(self, wait: Callable[[str], None]) -> None:
        self.wait = wait

    def synchronize(self) -> None:
        self.wait("synchronize")

    def record(self, stream: Any = None) -> None: ...

    def wait_stream(self, stream: Any) -> None: ...

    def wait_event(self, event: Any) -> None: ...

    def is_capturing(self) -> bool:
        return False

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: Any) -> float:
        return 1.0


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
    """Return the CPU's autocast for the GPU, and none for the CPU, which has nothing to compute."""
    if device_type == "cpu":
        return nullcontext()
    return torch.amp.autocast_mode.autocast("cpu", *args, **kwargs)


def _pinned(tensor: Tensor, device: Any = None) -> Tensor:
    """Return a copy in memory that the GPU reads without the host."""
    copy = tensor.clone()
    setattr(copy.untyped_storage(), PINNED, True)
    return copy


def _group(lists: Any, with_indices: bool = False) -> dict[Any, Any]:
    """Sort lists of tensors by device and type, as optimizers and clipping do, with our devices."""
    groups: dict[Any, Any] = {}
    for index, first in enumerate(lists[0]):
        key = (first.device, first.dtype)
        members, indices = groups.setdefault(key, ([[] for _ in lists], []))
        for member, values in zip(members, lists, strict=True):
            member.extend(values[index : index + 1])
        indices.extend([index] if with_indices else [])
    return groups


def _file_kind(holds: Callable[[Any], bool], take: Callable[[Any], Any]) -> tuple[int, Any, Any]:
    """Return how files name and restore what the GPU has: as `cuda:0`."""

    def name(storage: Any) -> str | None:
        return "cuda:0" if holds(storage) else None

    def restore(storage: Any, place: str) -> Any:
        return take(storage) if place.startswith("cuda") else None

    return 0, name, restore
