"""Whether a file of torch.save, and the tensors in it, are still what was saved.

torch.load does not notice a wrong byte in a tensor; the check sums of the archive do. Both checks
together take about half a second per GB on one core.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What zipfile raises for an archive with a wrong byte.
DAMAGED = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error, zlib.error)
STORAGES = "/data/"  # where the records of an archive with the numbers of tensors lie


def damage_of(path: Path, content: Any = None) -> str | None:
    """Say what is wrong with a file of torch.save, None if its check sums are right.

    `content` is what was loaded from it; with it, a damaged tensor is named.
    """
    if not path.stat().st_size:
        return "it is empty"
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"\0\0":
        return "it begins with zeros, like a file that lost power before it reached the disk"
    if start != b"PK":  # not an archive: the format before torch 1.6, or no checkpoint
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                return "its parts are compressed, which torch.save never does"
            record = archive.testzip()
    except DAMAGED:
        return "it is cut off or damaged"
    if record is None:
        return None
    return f"its part {record!r} is damaged{_named(content, record)}"


def fault_of(tensor: Tensor) -> str | None:
    """Say why a tensor can be no weight of a network, None if it can."""
    if tensor.layout is not torch.strided:
        return "a sparse tensor"
    if tensor.is_complex():
        return "complex numbers"
    # The extremes are NaN if any value is; this is ten times as fast as looking at each.
    if tensor.is_floating_point() and tensor.numel() and not _is_finite(tensor):
        return "NaN or infinite values"
    return None


def _is_finite(tensor: Tensor) -> bool:
    least, most = tensor.float().aminmax() if tensor.element_size() == 1 else tensor.aminmax()
    return bool(least.isfinite() & most.isfinite())


def faults_in(value: Any, name: str = "") -> list[str]:
    """Describe every tensor inside dictionaries and lists that can be no weight, by its name."""
    found = ((key, fault_of(tensor)) for key, tensor in tensors_in(value, name))
    return [f"{key} ({fault})" for key, fault in found if fault is not None]


def misfits(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[list[str], list[str]]:
    """Describe the tensors of another shape, and those of another kind, than is expected."""
    both = [key for key in expected if key in found]
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in both
        if found[key].shape != expected[key].shape
    ]
    kinds = [
        f"{key} {found[key].dtype} instead of {expected[key].dtype}"
        for key in both
        if found[key].is_floating_point() != expected[key].is_floating_point()
    ]
    return shapes, kinds


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the dotted names and the tensors inside dictionaries and lists, in their order."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping | list | tuple):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from tensors_in(item, f"{name}.{key}" if name else str(key))


def _named(content: Any, record: str) -> str:
    """Name the tensor that a record of the archive belongs to: torch numbers them as they come."""
    number = record.rpartition(STORAGES)[2]
    storages: dict[int, str] = {}
    for name, tensor in tensors_in(content):
        storages.setdefault(tensor.untyped_storage()._cdata, name)
    names = list(storages.values())
    if STORAGES not in record or not number.isdecimal() or int(number) >= len(names):
        return ""
    return f", the tensor {names[int(number)]!r}"
