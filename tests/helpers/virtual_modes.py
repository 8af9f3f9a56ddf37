"""How a `VirtualDevice` sees what torch does.

`Calls` sees functions as Python calls them, and what they say about devices. `Kernels` sees the
operators that they and back-propagation are made of.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from virtual_cuda import PINNED

if TYPE_CHECKING:
    from virtual_device import VirtualDevice

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
READ, UPLOAD, QUEUED = "read", "upload", "queued"
# Operators after which the host knows a value or the size of the result, and those that look for
# the places of a boolean index.
READING = {"_local_scalar_dense", "nonzero", "masked_select", "bincount", "repeat_interleave"}
READING |= {"_unique", "_unique2", "unique_dim", "unique_consecutive", "equal", "allclose"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# Elsewhere a number of the host (a tensor without dimensions) may join tensors of a GPU.
TAKES_NO_NUMBERS = {"cat", "stack", "_fused_adam_", "_fused_adamw_", "_fused_sgd_"}
TAKES_NO_NUMBERS |= {"_amp_foreach_non_finite_check_and_unscale_"}
FROM_DATA = (torch.tensor, torch.as_tensor, Tensor.new_tensor)


class Calls(TorchFunctionMode):
    """Functions and methods of torch as Python calls them: moves, and questions about devices."""

    def __init__(self, device: "VirtualDevice") -> None:
        super().__init__()
        self.device = device
        properties: Any = Tensor  # of an instance, as its type's descriptors
        self.answers = {
            properties.device.__get__: lambda t: CUDA if device.holds(t) else CPU,
            properties.is_cuda.__get__: device.holds,
            properties.is_cpu.__get__: lambda t: not device.holds(t),
            Tensor.get_device: lambda t: 0 if device.holds(t) else -1,
            Tensor.to: self.move,
            Tensor.type_as: self.move,
            Tensor.cpu: lambda t, **layout: self.move(t, CPU, **layout),
            Tensor.cuda: lambda t, device=None, *args, **kwargs: self.move(
                t, CUDA, *args, **kwargs
            ),
            Tensor.tolist: self.read_list,
            Tensor.numpy: self.refuse_numpy,
            Tensor.__array__: self.refuse_numpy,
            Tensor.__deepcopy__: lambda t, memo: device.put(t.__deepcopy__(memo), device.holds(t)),
            F.one_hot: self.one_hot,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer or make what depends on the device; let torch do the rest."""
        kwargs = kwargs or {}
        if self.device.is_computing:
            return func(*args, **kwargs)
        if func in self.answers:
            return self.answers[func](*args, **kwargs)
        if kwargs.get("device") is not None or func in FROM_DATA or "pin_memory" in kwargs:
            return self.make(func, args, **kwargs)
        with self.device.making(self.device.has_any((args, kwargs))):
            return func(*args, **kwargs)

    def make(
        self, func: Any, args: Any, device: Any = None, pin_memory: bool = False, **kwargs: Any
    ) -> Any:
        """Make a tensor on a device that is named, or beside another tensor."""
        if func is torch.as_tensor and isinstance(args[0], Tensor):
            return self.move(args[0], device, kwargs.get("dtype"))
        has_other = self.device.has_any((args, kwargs))
        is_there = has_other if device is None else _is_cuda(device)
        if device is not None:
            kwargs["device"] = CPU if is_there else device
        if is_there and func is torch.as_tensor:
            func = torch.tensor  # an array of the host stays its own
        with self.device.making(is_there):
            result = func(*args, **kwargs)
        if is_there and func in FROM_DATA:
            self.device.record(UPLOAD, func.__name__)
        if pin_memory:
            result = result.pin_memory()
        return self.device.put(result, is_there) if is_there or has_other else result

    def move(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Do what `tensor.to(…)` does."""
        target, dtype, is_queued, is_copy = _parse_to(*args, **kwargs)
        if isinstance(target, Tensor):
            target, dtype = (CUDA if self.device.holds(target) else CPU), target.dtype
        is_here = self.device.holds(tensor)
        is_there = is_here if target is None else _is_cuda(target)
        if not is_here and not is_there:
            return tensor.to(*args, **kwargs)
        layout = kwargs.get("memory_format") or torch.preserve_format
        dtype = dtype or tensor.dtype
        if is_here == is_there:
            return tensor.to(dtype=dtype, copy=is_copy, memory_format=layout)
        self.device.record((QUEUED if is_queued else UPLOAD) if is_there else READ, "to")
        moved = torch.ops.aten._to_copy.default(tensor, dtype=dtype, memory_format=layout)
        return self.device.put(moved, is_there)

    def read_list(self, tensor: Tensor) -> Any:
        """Do what `tensor.tolist()` does."""
        if self.device.holds(tensor):
            self.device.record(READ, "tolist")
            tensor = self.device.put(tensor.detach().clone(), is_there=False)
        return tensor.tolist()

    def refuse_numpy(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Do what `tensor.numpy()` does: arrays are for the host."""
        if self.device.holds(tensor):
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use .cpu() first")
        return tensor.numpy(*args, **kwargs)

    def one_hot(self, tensor: Tensor, num_classes: int = -1) -> Tensor:
        """Do it as on a GPU, without looking at the values: on a CPU torch checks them."""
        if not self.device.holds(tensor) or num_classes < 0:
            return F.one_hot(tensor, num_classes)
        zeros = torch.zeros((*tensor.shape, num_classes), dtype=torch.int64)
        return self.device.put(zeros).scatter_(-1, tensor[..., None], 1)


class Kernels(TorchDispatchMode):
    """Operators as they compute, in back-propagation too."""

    def __init__(self, device: "VirtualDevice") -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at an operator, compute it, and mark what it makes."""
        device, kwargs = self.device, kwargs or {}
        name = func.overloadpacket.__name__
        device.is_computing = True
        try:
            inputs = tensors((args, kwargs))
            is_there = self.look_at(name, inputs, args, kwargs)
            result = func(*args, **kwargs)
            given = {id(tensor.untyped_storage()) for tensor in inputs}
            made = [t for t in tensors(result) if id(t.untyped_storage()) not in given]
            if is_there and (made or name.endswith("_")):  # else a view
                device.kernels[name] += 1
                device.put(made)
            return result
        finally:
            device.is_computing = False

    def look_at(self, name: str, inputs: list[Tensor], args: Any, kwargs: Any) -> bool:
        """Record and check an operator; tell whether what it makes is on the device."""
        device = self.device
        if not device.has_any(inputs):
            return device.is_here and not inputs
        if name == "copy_":
            return self.look_at_copy(*args, **kwargs)
        if name in INDEXING:
            inputs = self.look_at_indices(name, *args, **kwargs)
        takes_numbers = name not in TAKES_NO_NUMBERS
        if name.endswith("_"):  # changes its first tensor
            takes_numbers = takes_numbers and device.holds(inputs[0])
        if any(not device.holds(t) and (t.dim() > 0 or not takes_numbers) for t in inputs):
            self.refuse_mixing(name, inputs)
        if name in READING and kwargs.get("output_size") is None:
            device.record(READ, name)
        return True

    def refuse_mixing(self, name: str, inputs: list[Tensor]) -> None:
        """Raise for tensors on both devices."""
        from virtual_device import running_function

        places = [f"{CUDA if self.device.holds(t) else CPU} {tuple(t.shape)}" for t in inputs]
        function, line = running_function()
        raise RuntimeError(
            f"{name} in {function} ({line}): expected all tensors on one device, got "
            f"{', '.join(places)}; make each on the device of the others."
        )

    def look_at_copy(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> bool:
        """Record `target.copy_(source)`, one of them on the device; tell whether the target is."""
        device = self.device
        if not device.holds(source):
            device.record(QUEUED if non_blocking else UPLOAD, "copy_")
        elif not device.holds(target):
            is_pinned = getattr(target.untyped_storage(), PINNED, False)
            device.record(QUEUED if non_blocking and is_pinned else READ, "copy_")
        return device.holds(target)

    def look_at_indices(
        self, name: str, target: Tensor, indices: Any, *rest: Any, **kwargs: Any
    ) -> list[Tensor]:
        """Record what indices cause, which may be of the host; return what has to be together."""
        device, values, given = self.device, tensors((rest, kwargs)), tensors(indices)
        is_mask = any(index.dtype in (torch.bool, torch.uint8) for index in given)
        fills = any(v.dim() == 0 and not device.holds(v) for v in values)  # x[mask] = 0
        if device.holds(target) and is_mask and not fills:
            device.record(READ, name)
        for index in given:
            if device.holds(target) and not device.holds(index):
                device.record(UPLOAD, name)
        return [target, *values, *(index for index in given if device.holds(index))]


def tensors(values: Any) -> list[Tensor]:
    """Return the tensors of arguments or results, which may be nested."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, list | tuple):
        return []
    return [tensor for value in values for tensor in tensors(value)]


def _is_cuda(target: Any) -> bool:
    """Tell whether a device, its name or its number is a GPU."""
    return isinstance(target, int) or torch.device(target).type == "cuda"


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, torch.dtype | None, bool, bool]:
    """Return what `Tensor.to` is asked for: device (or a tensor as a model), type, and two flags.

    The flags are non_blocking and copy.
    """
    target, dtype, flags = kwargs.get("device", kwargs.get("other")), kwargs.get("dtype"), []
    for arg in args:
        if isinstance(arg, bool):
            flags.append(arg)
        elif isinstance(arg, torch.dtype):
            dtype = arg
        elif arg is not None:
            target = arg
    named = kwargs.get("non_blocking", False), kwargs.get("copy", False)
    is_queued, is_copy = [*flags, *named[len(flags) :]]
    return target, dtype, is_queued, is_copy
