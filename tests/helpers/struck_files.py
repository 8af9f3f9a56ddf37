"""What two folders of complete runs have to have in common: every file, and every bit of it.

Only times, and what a start says of itself, may differ. A temporary file or a lock that was left is
a file that the undisturbed run does not have.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import small_runs

from mmseg.engine.provenance import REPRO
from mmseg.system.files import SUFFIX
from mmseg.system.folder_lock import LOCK_FILE

LOGS = ("*.log", "*.log.json")  # named after the time of a start
OF_A_START = (*LOGS, REPRO)


def names(folder: Path) -> set[str]:
    """Return the names of all files that do not tell of a single start."""
    files = (file for file in folder.rglob("*") if file.is_file())
    kept = (file for file in files if not any(file.match(pattern) for pattern in OF_A_START))
    return {file.relative_to(folder).as_posix() for file in kept}


def finished(folder: Path) -> set[str]:
    """Return the names of the files that a reader would take for complete."""
    return {n for n in names(folder) if not n.endswith((SUFFIX, LOCK_FILE))}


def differences(whole: Path, other: Path) -> list[str]:
    """Return in what `other` differs from the folder of an undisturbed run."""
    expected, found = names(whole), names(other)
    differing = [f"{name} is missing" for name in sorted(expected - found)]
    differing += [f"{name} was left" for name in sorted(found - expected)]
    for name in sorted(expected & found):
        differing += _values_that_differ(whole / name, other / name, name)
    runs = {file.parent.relative_to(whole) for file in whole.rglob(LOGS[1])}
    for run in sorted(runs):
        ours, theirs = small_runs.logged(whole / run), small_runs.logged(other / run)
        keys = sorted(ours.keys() | theirs.keys())
        differing += [f"{run}: log of {key}" for key in keys if ours.get(key) != theirs.get(key)]
    return differing


def _values_that_differ(ours: Path, theirs: Path, name: str) -> Iterator[str]:
    if name.startswith("run/") and ours.suffix == ".pth":
        yield from (f"{name}: {value}" for value in small_runs.differences(ours, theirs))
    elif ours.name == "results.json":
        if _without_times(ours) != _without_times(theirs):
            yield name
    elif ours.read_bytes() != theirs.read_bytes():
        yield name


def _without_times(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return {k: v for k, v in content.items() if k not in small_runs.UNREPEATABLE}
