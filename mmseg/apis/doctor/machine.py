"""Whether the machine itself has what a run needs."""

import locale
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from mmseg.apis.doctor.items import OK, WARNING, Item
from mmseg.apis.doctor.needs import Needs
from mmseg.engine.provenance import git_revision, versions
from mmseg.preprocessing.plan import size_text
from mmseg.system import machine
from mmseg.system.workers import MORE_SHARED_MEMORY, SHARED_MEMORY

OPTIONAL = {"timm": "backbones of timm", "transformers": "making depth maps"}
USUAL_FILES = 1024  # that a process may open on most systems
MORE_FILES = "Raise the limit with: ulimit -n 65536"
UNKNOWN = "not known"


def machine_items(needs: Needs | None) -> Iterator[Item]:
    """Yield what there is; with `needs`, whether it is enough for a run."""
    yield Item(OK, "system", platform.platform())
    yield Item(OK, "CPU", f"{machine.cpu_model()}, {machine.usable_cores()} core(s) usable")
    yield Item(OK, "memory", _memory())
    yield _disk(needs)
    yield _shared_memory(needs)
    yield _open_files(needs)
    yield _encoding()


def version_items() -> Iterator[Item]:
    """Yield the versions of what computes, and what could be installed, too."""
    known = versions()
    own, cuda = known.pop("cdda-seg"), known.pop("cuda")
    del known["cudnn"], known["os"]
    yield Item(OK, "cdda-seg", f"{own}, revision {git_revision() or UNKNOWN}")
    listed = [f"{name} {version}" for name, version in known.items()]
    yield Item(OK, "versions", f"{', '.join(listed)}, CUDA {cuda or 'none (a CPU build of torch)'}")
    for name, use in OPTIONAL.items():
        found = installed_version(name)
        yield Item(OK, name, found or f"not installed; only for {use}")


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, None if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    installed, limit = machine.installed_memory(), machine.memory_limit()
    parts = [UNKNOWN if installed is None else size_text(installed)]
    if limit is not None and (installed is None or limit < installed):
        parts.append(f"this process may use {size_text(limit)}")
    if (available := machine.available_memory()) is not None:
        parts.append(f"{size_text(available)} available")
    return ", ".join(parts)


def _disk(needs: Needs | None) -> Item:
    free = machine.free_disk(Path())
    text = f"{size_text(free)} free in the current folder"
    if needs is None or needs.disk is None:
        return Item(OK, "disk", text)
    text += f"; the checkpoints of the run take about {size_text(needs.disk)}"
    if free >= needs.disk:
        return Item(OK, "disk", text)
    return Item(WARNING, "disk", f"{text}. Free space, or set checkpoint_config.max_keep_ckpts.")


def _shared_memory(needs: Needs | None) -> Item:
    name, free = "shared memory", machine.free_shared_memory()
    text = UNKNOWN if free is None else f"{size_text(free)} free in '{SHARED_MEMORY}'"
    if needs is None or needs.workers == 0:
        return Item(OK, name, text)
    needed = needs.shared_memory
    said = UNKNOWN if needed is None else f"up to about {size_text(needed)}"
    text += f"; samples of {needs.workers} worker(s) take: {said}"
    if free is None or needed is None or free >= needed:
        return Item(OK, name, text)
    return Item(WARNING, name, f"{text}. {MORE_SHARED_MEMORY}.")


def _open_files(needs: Needs | None) -> Item:
    limit = machine.open_files()
    if limit is None:
        return Item(OK, "open files", UNKNOWN)
    needed = USUAL_FILES if needs is None else max(USUAL_FILES, needs.open_files)
    is_enough = limit < 0 or limit >= needed  # RLIM_INFINITY is negative
    text = f"{'no limit' if limit < 0 else limit} for a process"
    if is_enough:
        return Item(OK, "open files", text)
    return Item(WARNING, "open files", f"{text}, fewer than {needed}. {MORE_FILES}.")


def _encoding() -> Item:
    names, text = sys.getfilesystemencoding(), locale.getpreferredencoding(False)
    said = f"{names} for names of files, {text} for text"
    if names.lower().replace("-", "") == "utf8":
        return Item(OK, "encoding", said)
    advice = "Names with letters that it lacks cannot be read: set PYTHONUTF8=1."
    return Item(WARNING, "encoding", f"{said}. {advice}")
