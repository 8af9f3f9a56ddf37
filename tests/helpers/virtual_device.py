"""A GPU made of the CPU's memory, to find mistakes with devices where there is no GPU.

    with VirtualDevice() as device:
        trainer = demo_trainer("cdda_mic", folder, "cuda")
        trainer.step(batch)
    assert device.functions(READ) == {"models.uda.depthmetric.metric.read_decisions": 1}

Inside the context, tensors that are sent to `cuda` say that they are on `cuda:0` and compute on the
CPU. Code takes the branches that it takes on a GPU, and its numbers are right.

* An operator whose tensors are on both devices raises, naming itself and the line of mmseg.
* `device.events` lists what the host did with the device, each with the function of mmseg: it READ
  a value, it UPLOADed one and waited for the copy, or it QUEUED a copy and went on. Reads and
  uploads are what CUDA waits for, and what torch's own synchronization warnings tell there.
* `device.kernels` counts the operators that made or changed something there.

A tensor is there if its storage carries the mark of the device, so that views, gradients and
tensors that take another's place (`param.data = …`) follow. The mark is an attribute of the
storage's Python object, which torch keeps as long as the storage. So a new storage has none, also
where a freed one lay.

Not simulated: the order of streams, memory and its limit, random numbers (they are the CPU's),
compiled code, and Python code that torch's own functions call (the gradient of a
`torch.autograd.Function`, for example), to which tensors say that they are on the CPU. Private
names of torch that this rests on: `torch.utils._python_dispatch.TorchDispatchMode`,
`torch._C._group_tensors_by_device_and_dtype` and `torch.serialization._package_registry`.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from virtual_cuda import pretend_cuda
from virtual_modes import QUEUED, READ, UPLOAD, Calls, Kernels, tensors

__all__ = ["QUEUED", "READ", "UPLOAD", "Event", "VirtualDevice"]

MARK = "virtual_device"  # attribute of a storage; its value is the device
PACKAGE = "mmseg"


@dataclass(frozen=True)
class Event:
    """Something that the host did with the device.

    kind: READ, UPLOAD or QUEUED; operator: torch's name of it; function: of mmseg, as
    `module.function` (`models.uda.dacs.accumulate_gradients`); line: `file:number`.
    """

    kind: str
    operator: str
    function: str
    line: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.operator} in {self.function} ({self.line})"


class VirtualDevice:
    """See the module.

    Attributes:
        events: in their order.
        kernels: how often each operator ran.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.kernels: Counter[str] = Counter()
        self.is_computing = False  # what is called now is part of an operator
        self.is_here = False  # what an operator makes now without another tensor is on the device
        self._exits = ExitStack()

    def __enter__(self) -> "VirtualDevice":
        cuda = pretend_cuda(self.holds, self.take, lambda name: self.record(READ, name))
        for context in (cuda, Calls(self), Kernels(self)):
            self._exits.enter_context(context)
        return self

    def __exit__(self, *error: Any) -> None:
        self._exits.close()

    def holds(self, value: Any) -> bool:
        """Tell whether a value is a tensor, or the storage of one, on the device."""
        storage = value.untyped_storage() if isinstance(value, Tensor) else value
        return getattr(storage, MARK, None) is self

    def has_any(self, values: Any) -> bool:
        """Tell whether a tensor on the device is among nested values."""
        return any(map(self.holds, tensors(values)))

    def put(self, values: Any, is_there: bool = True) -> Any:
        """Say where new tensors are, and return them."""
        for tensor in tensors(values):
            setattr(tensor.untyped_storage(), MARK, self if is_there else None)
        return values

    def take(self, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        """Say that a storage is on the device, and return it."""
        setattr(storage, MARK, self)
        return storage

    def clear(self) -> None:
        """Forget what has happened so far."""
        self.events.clear()
        self.kernels.clear()

    def functions(self, *kinds: str) -> Counter[str]:
        """Return how often each function of mmseg caused events of some kinds."""
        return Counter(event.function for event in self.events if event.kind in kinds)

    def waits(self) -> str:
        """Return a line for each place that made the host wait, with how often it did."""
        counts = Counter(event for event in self.events if event.kind != QUEUED)
        return "\n".join(f"{count} x {event}" for event, count in counts.items())

    def record(self, kind: str, operator: str) -> None:
        """Note what the function that runs now does."""
        self.events.append(Event(kind, operator, *running_function()))

    @contextmanager
    def making(self, is_here: bool) -> Iterator[None]:
        """Say where is what operators make without another tensor."""
        before, self.is_here = self.is_here, is_here
        try:
            yield
        finally:
            self.is_here = before


def running_function() -> tuple[str, str]:
    """Return the innermost function of mmseg that is running, and its line."""
    frame = sys._getframe(1)
    while frame is not None:
        module, code = frame.f_globals.get("__name__", ""), frame.f_code
        if module.startswith(f"{PACKAGE}.") and not code.co_name.startswith("<"):
            name = f"{module.removeprefix(f'{PACKAGE}.')}.{code.co_name}"
            return name, f"{code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return f"outside of {PACKAGE}", f"no line of {PACKAGE}"
