"""Load files of torch.save without executing anything that they may contain.

A pickle is a program: it calls whatever it names. `load_safely` lets it name tensors, plain values
and the stand-ins of `safe_types`, and refuses everything else by name.
"""

import errno
import io
import logging
import pickle
import pickletools
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from mmseg.system.options import OPT_IN
from mmseg.system.safe_types import STAND_INS, Inert, PlainDict, settle
from mmseg.system.soundness import damage_of

# What torch.load raises for a file that is cut off or corrupt: a pickle is a program, and one with
# a wrong byte can do anything.
CUT_OFF = (EOFError, LookupError, AttributeError, TypeError, AssertionError, OverflowError)
CUT_OFF += (struct.error,)
UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, *CUT_OFF)
SHOWN_TYPES = 20
LEGACY_PICKLES = 5  # magic number, version, system, content, names of the storages
# How torch's messages begin when it refuses what a file asks for, without naming a type.
REFUSALS = ("Trying to ", "Can only ", "Only persistent_load ", "persistent_load id must ")
LIGHTNING = b"pytorch-lightning_version"  # a key of its files
REFUSALS += ("Cannot use ``weights_only=True`` with ",)
# What the standard library raises for a broken file.
BROKEN = (*UNREADABLE, OSError, zipfile.BadZipFile, zlib.error)
ARE_TRUSTED: ContextVar[bool] = ContextVar("files are trusted", default=False)


class UnsafeFileError(ValueError):
    """A file asks for more than tensors and plain values: loading it could run any program."""


class UnreadableFileError(RuntimeError):
    """A file is cut off, corrupt or not from torch.save; the message says why in a few words."""


@contextmanager
def trusting_files(is_trusted: bool) -> Iterator[None]:
    """Let the code inside unpickle files that `load_safely` would refuse.

    Only for files that you trust: whoever wrote one can run any program when it is loaded.
    """
    token = ARE_TRUSTED.set(is_trusted)
    try:
        yield
    finally:
        ARE_TRUSTED.reset(token)


def load_safely(
    path: str | Path,
    what: str,
    map_location: torch.device | str | None = "cpu",
    is_mapped: bool = False,
) -> Any:
    """Load a file of torch.save (also one of an old version) and execute nothing in it.

    An error message calls it `what`. If it `is_mapped`, tensors are read from the file when they
    are used; nobody may write into it meanwhile.

    `UnsafeFileError` names every type that is refused; inside `trusting_files(True)` the file is
    unpickled instead. `UnreadableFileError` if it cannot be read.
    """
    path = Path(path)
    with _stand_ins_only():
        try:
            options: dict[str, Any] = {"map_location": map_location, "mmap": is_mapped}
            content = settle(torch.load(path, weights_only=True, **options))
        except (*UNREADABLE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            damage = damage_of(path)
            reason = None if damage else _reason_unsafe(path, error)
            if reason is not None and (state := _weights_of_lightning(path, map_location)):
                logging.getLogger("mmseg").info(
                    f"Took the weights alone from {str(path)!r}, a file of Lightning: {reason}."
                )
                return {"state_dict": state}
            if reason is None:
                raise UnreadableFileError(damage or _reason_unreadable(error)) from error
            if not ARE_TRUSTED.get():
                raise UnsafeFileError(
                    f"expected {what} of tensors and plain values at {str(path)!r}, got one that "
                    f"could run any program while it is loaded ({reason}); nothing in it was "
                    "executed. Get it from a source that you trust, or if you trust this file, "
                    f"add {OPT_IN} to the command (in Python: `with "
                    "mmseg.system.safe_loading.trusting_files(True):`)."
                ) from None
        else:
            if damage := damage_of(path, content):
                raise UnreadableFileError(damage)
            return content
    logging.getLogger("mmseg").warning(
        f"Loading {str(path)!r} without protection, because {OPT_IN} was given: {reason}."
    )
    try:
        return torch.load(path, map_location=map_location, weights_only=False)
    except (*UNREADABLE, ImportError) as error:
        raise UnreadableFileError(_reason_unreadable(error)) from error


@contextmanager
def _stand_ins_only() -> Iterator[None]:
    """Let torch load the stand-ins for a while, and nothing else that programs have allowed.

    They may have allowed the functions that the stand-ins replace.
    """
    known: list[Any] = [(stand_in, name) for name, stand_in in STAND_INS.items()]
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
            # torch warns about programs and other pickle protocols; our errors are clearer.
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.serialization.add_safe_globals(others)


def _weights_of_lightning(
    path: Path, map_location: torch.device | str | None
) -> dict[str, Tensor] | None:
    """Return the weights in a file of Lightning; None for other files.

    Such files may hold the hyperparameters of a program, whatever these are. All that would be
    refused is only kept, under another type, so that nothing of it is executed.
    """
    with suppress(*BROKEN), zipfile.ZipFile(path) as archive:
        records = [n for n in archive.namelist() if n.endswith("data.pkl")]
        if not any(LIGHTNING in archive.read(name) for name in records):
            return None
        names = _refused(_named_types(path))
        kept: list[Any] = [(PlainDict if n.endswith("Dict") else Inert, n) for n in names]
        with torch.serialization.safe_globals(kept):
            content = torch.load(path, map_location=map_location, weights_only=True)
        state = content["state_dict"]
        if all(isinstance(value, Tensor) for value in state.values()):
            return {str(key): value for key, value in state.items()}
    return None


def _reason_unsafe(path: Path, error: BaseException) -> str | None:
    """Say why a file is refused; None if it is only unreadable."""
    names = _refused(_named_types(path))
    if names:
        shown = [name if name.isprintable() else ascii(name) for name in names[:SHOWN_TYPES]]
        more = f", … ({len(names)} in all)" if len(names) > SHOWN_TYPES else ""
        return f"it holds the type{'s' if len(names) > 1 else ''} {', '.join(shown)}{more}"
    reason = _reason_unreadable(error)
    return reason if reason.startswith(REFUSALS) else None


def _reason_unreadable(error: BaseException) -> str:
    if isinstance(error, (*CUT_OFF, OSError)) or not str(error).strip():
        return "it is cut off, or torch.save did not write it"
    # torch puts its advice around the sentence that says what is wrong.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return text.splitlines()[0].strip().partition(". ")[0]


def _refused(names: set[str]) -> list[str]:
    """Return those of a file's names that are neither torch's own nor stand-ins, sorted.

    torch judges only files, so this makes one that does nothing but name them.
    """
    lines = [name.rpartition(".") for name in sorted(names)]
    named = b"".join(f"c{module}\n{name}\n".encode() for module, _, name in lines)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + named + b".")
        archive.writestr("archive/version", "3\n")
    file.seek(0)
    return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))


def _named_types(path: Path) -> set[str]:
    """Return `module.name` of everything that a file's pickles name, without running them.

    Of a broken file, these are the names that could be read.
    """
    names: set[str] = set()
    with suppress(*BROKEN), path.open("rb") as file:
        if zipfile.is_zipfile(file):
            archive = zipfile.ZipFile(file)
            for record in archive.namelist():
                if record.endswith(".pkl"):
                    names |= _names_in(io.BytesIO(archive.read(record)))
        else:
            file.seek(0)
            for _ in range(LEGACY_PICKLES):
                names |= _names_in(file)
    return names


def _names_in(stream: IO[bytes]) -> set[str]:
    """Return what one pickle names, up to its end or the first byte that is wrong."""
    names: set[str] = set()
    memo: dict[Any, str] = {}
    texts = ["", ""]  # the last two are what STACK_GLOBAL takes for module and name
    with suppress(*BROKEN, MemoryError):  # a wrong byte may announce a text of any length
        for operation, argument, _ in pickletools.genops(stream):
            code = operation.name
            if code in ("GLOBAL", "INST"):
                names.add(str(argument).replace(" ", ".", 1))
            elif code == "STACK_GLOBAL":
                names.add(".".join(texts[-2:]).replace("\n", " "))
            elif isinstance(argument, str):
                texts.append(argument)
            elif code == "MEMOIZE":
                memo[len(memo)] = texts[-1]
            elif code in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = texts[-1]
            elif code in ("BINGET", "LONG_BINGET"):
                texts.append(memo.get(argument, ""))
    return names
