"""Files that run a program while they are unpickled, and files of older versions."""

import io
import os
import pickle
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEGACY = {"_use_new_zipfile_serialization": False}  # of torch.save: the format before torch 1.6


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def by_system(marker: Path) -> Any:
    """Run a shell command."""
    return Runs(os.system, f"touch {shlex.quote(str(marker))}")


def by_exec(marker: Path) -> Any:
    """Run a line of Python."""
    return Runs(exec, f"open({str(marker)!r}, 'w').close()")


def by_rebuilding(marker: Path) -> Any:
    """Let a function that torch allows call one that it does not."""
    rebuild: Any = torch._tensor._rebuild_from_type_v2  # type: ignore[attr-defined]
    return Runs(rebuild, os.system, int, (f"touch {shlex.quote(str(marker))}",), {})


def by_parameter(marker: Path) -> Any:
    """Hide the call in the attributes of a weight."""
    weight = torch.nn.Parameter(torch.ones(3))
    weight.note = by_system(marker)  # type: ignore[attr-defined]
    return weight


TRICKS = {f.__name__: f for f in (by_system, by_exec, by_rebuilding, by_parameter)}
PLACES: dict[str, Callable[[Any], Any]] = {
    "meta": lambda evil: {"meta": {"hook_msgs": evil}, "state_dict": {"a": torch.ones(2)}},
    "state_dict": lambda evil: {"state_dict": {"a": torch.ones(2), "b": evil}},
    "optimizer": lambda evil: {"state_dict": {"a": torch.ones(2)}, "optimizer": [1, (evil,)]},
    "top": lambda evil: evil,
}


def write_archive(path: Path, program: bytes, *further: str) -> None:
    """Write a file of torch.save around a pickle that no pickler would write."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3\n")
        for name in further:
            archive.writestr(f"archive/{name}", b"\x80\x02).")


def write_tar(path: Path, content: Any) -> None:
    """Write a file in the format of torch before 0.4, whose parts are pickles."""
    import tarfile

    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(content, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


class OldNumpy:
    """Pickles numpy's things under the names that they had before numpy 2."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def save_global(self, obj: Any, name: str | None = None) -> None:
            if getattr(obj, "__module__", None) == "numpy._core.multiarray":
                function = obj.__name__.encode()
                self.write(pickle.GLOBAL + b"numpy.core.multiarray\n" + function + b"\n")
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    @staticmethod
    def dump(obj: Any, file: Any, protocol: int = 2) -> None:
        OldNumpy.Pickler(file, protocol).dump(obj)


for kind in (type(np.array), type(np.dtype)):  # functions are pickled as globals
    OldNumpy.Pickler.dispatch.setdefault(kind, OldNumpy.Pickler.save_global)
