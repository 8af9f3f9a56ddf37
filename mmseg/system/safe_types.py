"""Stand-ins for the types that a checkpoint may name besides tensors and plain values.

Checkpoints of this family carry numpy numbers in their `meta`, and those of newer programs their
history of losses. Loading such a file calls what it names, with arguments that it chooses. So it
does not even get numpy's own functions: every name of `STAND_INS` leads to something in this module
that can only keep values. `settle` then turns numpy's stand-ins into real dtypes and arrays.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

# Booleans, integers, floats, complex numbers and texts, but never objects ('O') or records ('V').
PLAIN_DTYPE = re.compile(r"b1|[iuf][1248]|f16|c8|c16|c32|[SU][1-9]\d{0,5}")
BYTE_ORDERS = ("<", ">", "=", "|")


class Inert:
    """Keeps arguments and state of an object that is not needed here."""

    __slots__ = ("arguments", "state")

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Any:
        """Keep the arguments; unpickling does not always call `__init__`."""
        inert: Any = super().__new__(cls)
        inert.arguments, inert.state = arguments, None
        return inert

    def __setstate__(self, state: Any) -> None:
        self.state = state


class PlainDict:
    """Makes an `OrderedDict` of the first argument that is a dictionary."""

    def __new__(cls, *arguments: Any) -> Any:  # noqa: D102
        return OrderedDict(next((a for a in arguments if isinstance(a, dict)), {}))


class PlainList:
    """Makes a `list` of the first argument that is a list or tuple."""

    def __new__(cls, *arguments: Any) -> Any:  # noqa: D102
        return list(next((a for a in arguments if type(a) in (list, tuple)), ()))


class NumpyDtype(Inert):
    """Stands in for `numpy.dtype(code, align, copy)`."""

    __slots__ = ()

    def real(self) -> np.dtype:
        """Return the dtype; raise `UnpicklingError` unless it is one of plain numbers or texts."""
        code = self.arguments[0] if self.arguments else None
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        if isinstance(code, str) and PLAIN_DTYPE.fullmatch(code) and order in BYTE_ORDERS:
            return np.dtype(code).newbyteorder(order)
        raise UnpicklingError(f"Can only make dtypes of numbers and texts, but got {code!r}")


class NumpyArray(Inert):
    """Stands in for a `numpy.ndarray`; its state is (version, shape, dtype, is_fortran, bytes)."""

    __slots__ = ()

    def real(self) -> np.ndarray:
        """Return the array; raise `UnpicklingError` unless its data are plain bytes."""
        is_complete = isinstance(self.state, tuple) and len(self.state) == 5
        _, shape, dtype, is_fortran, data = self.state if is_complete else (None,) * 5
        flat = np.frombuffer(_bytes(data), _dtype(dtype)) if data else np.empty(0, _dtype(dtype))
        return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def numpy_scalar(dtype: Any, data: Any = None) -> Any:
    """Stand in for numpy's `scalar(dtype, bytes)`, for numbers and texts only."""
    return np.frombuffer(_bytes(data), _dtype(dtype), count=1)[0]


def numpy_array(*_: Any) -> NumpyArray:
    """Stand in for numpy's `_reconstruct(type, shape, code)`; the state that follows says all."""
    return NumpyArray()


def no_bytes() -> bytes:
    """Stand in for `bytes`, which an old protocol calls only for b""."""
    return b""


def settle(value: Any, memo: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """Replace the stand-ins of dtypes and arrays, in place inside dictionaries and lists.

    `memo` holds original and result of what has been visited, by the id of the original.
    """
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)][1]
    if isinstance(value, NumpyDtype | NumpyArray):
        memo[id(value)] = (value, value.real())
    elif isinstance(value, dict | list):
        memo[id(value)] = (value, value)
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            value[key] = settle(value[key], memo)
    elif type(value) is tuple:
        items = tuple(settle(item, memo) for item in value)
        is_same = all(new is old for new, old in zip(items, value, strict=True))
        memo[id(value)] = (value, value if is_same else items)
    elif isinstance(value, Inert):
        memo[id(value)] = (value, value)
        value.arguments = settle(value.arguments, memo)
        value.state = settle(value.state, memo)
    else:
        return value
    return memo[id(value)][1]


def _dtype(value: Any) -> np.dtype:
    if not isinstance(value, NumpyDtype):
        raise UnpicklingError(f"Can only make numbers of a numpy.dtype, but got {type(value)}")
    return value.real()


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise UnpicklingError(f"Can only make numbers of bytes, but got {type(value)}")
    return value


STAND_INS: dict[str, Callable[..., Any]] = {
    # numbers, dtypes and arrays of numpy; `core` is the name of numpy 1, `_core` that of numpy 2
    "numpy.dtype": NumpyDtype,
    "numpy.ndarray": NumpyArray,
    "numpy.core.multiarray.scalar": numpy_scalar,
    "numpy._core.multiarray.scalar": numpy_scalar,
    "numpy.core.multiarray._reconstruct": numpy_array,
    "numpy._core.multiarray._reconstruct": numpy_array,
    "builtins.bytes": no_bytes,
    # containers (torch itself knows OrderedDict, Counter and set)
    "collections.defaultdict": PlainDict,
    "collections.deque": PlainList,
    # what makes the missing values of a defaultdict: kept by name, never called
    "builtins.dict": Inert,
    "builtins.float": Inert,
    "builtins.int": Inert,
    "builtins.list": Inert,
    # torch.__version__ is a text of a class of its own
    "torch.torch_version.TorchVersion": str,
    # configs and histories of the programs that this family was trained with
    "addict.addict.Dict": PlainDict,
    "mmcv.utils.config.ConfigDict": PlainDict,
    "mmcv.utils.config.Config": Inert,
    "mmcv.runner.log_buffer.LogBuffer": Inert,
    "mmengine.config.config.ConfigDict": PlainDict,
    "mmengine.config.config.Config": Inert,
    "mmengine.logging.history_buffer.HistoryBuffer": Inert,
    "mmengine.logging.message_hub.MessageHub": Inert,
    # a HistoryBuffer lists its own methods as getattr(HistoryBuffer, 'mean'): kept, not looked up
    "builtins.getattr": Inert,
}
