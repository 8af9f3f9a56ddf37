"""The checkpoint files of one run: `iter_N.pth`, `latest.pth`, `best_mIoU_iter_N.pth`.

They are written here, and the one that `--resume` continues from is chosen here.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg.engine.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from mmseg.engine.logs import get_logger
from mmseg.system import processes
from mmseg.system.files import atomic_write, partial_of, sync_folder
from mmseg.system.hub import local_file

LATEST = "latest.pth"
SAVED = r"iter_(\d+)\.pth"
BEST = r"best_mIoU_iter_(\d+)\.pth"


class CheckpointFolder:
    """Writes checkpoints, finds the one to continue from, removes those no longer wanted.

    After `save`, `latest.pth` is a second name of the newest `iter_N.pth` (or a copy, where the
    file system has no hard links), so it stays when that file is deleted. `max_keep` is how many
    of the newest `iter_N.pth` to keep; all of them if negative.
    """

    def __init__(self, path: str | Path, max_keep: int = -1) -> None:
        self.path, self.max_keep = Path(path), max_keep

    @property
    def latest(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        file = self.path / LATEST
        return file if file.is_file() else None

    @property
    def best(self) -> Path | None:
        """The checkpoint with the best evaluation, if there is one."""
        return next((file for _, file in reversed(_numbered(self.path, BEST))), None)

    @property
    def numbered(self) -> list[tuple[int, Path]]:
        """The files `iter_N.pth` with their N, in order."""
        return _numbered(self.path, SAVED)

    @property
    def files(self) -> list[Path]:
        """All checkpoints of the folder."""
        saved = [file for _, file in (*self.numbered, *_numbered(self.path, BEST))]
        return [self.latest, *saved] if self.latest else saved

    def save(self, iteration: int, content: Mapping[str, Any]) -> Path:
        """Write `iter_<iteration>.pth` and `latest.pth`; delete what exceeds `max_keep`."""
        file = self.path / f"iter_{iteration}.pth"
        write_checkpoint(file, content)
        same_file(file, self.path / LATEST)
        if self.max_keep >= 0:
            others = [f for _, f in self.numbered if f != file]
            for old in others[: max(0, len(others) + 1 - max(1, self.max_keep))]:
                old.unlink(missing_ok=True)
        return file

    def save_latest(self, content: Mapping[str, Any]) -> Path:
        """Write `latest.pth` alone."""
        file = self.path / LATEST
        write_checkpoint(file, content)
        return file

    def save_best(self, iteration: int, content: Mapping[str, Any]) -> Path:
        """Write `best_mIoU_iter_<iteration>.pth` and delete the best one before it."""
        file = self.path / f"best_mIoU_iter_{iteration}.pth"
        write_checkpoint(file, content)
        for old in {old for _, old in _numbered(self.path, BEST)} - {file}:
            old.unlink(missing_ok=True)
        return file

    def newest_complete(self) -> Path | None:
        """Return the checkpoint of the highest iteration that a run can continue from.

        Candidates are read as a whole; half-written and damaged ones are skipped with a warning.
        """
        latest = self.latest
        newest = _iteration_if_complete(latest) if latest else None
        numbered = [*_numbered(self.path, BEST), *self.numbered]
        for number, file in sorted(numbered, key=lambda entry: entry[0], reverse=True):
            if newest is not None and number <= newest:
                break
            if _iteration_if_complete(file) is not None:
                return file
        return latest if newest is not None else None


def resume_path(option: str | None, work_dir: str | Path, configured: str | None) -> Path | None:
    """Return the checkpoint to resume from, or None for a fresh start.

    Process 0 decides, so call it on all processes together. `option` is `--resume`: a path; 'auto'
    for the newest complete checkpoint of the work folder, if it has any; 'none'; or None to follow
    the config, whose `resume_from` is `configured`.
    `CheckpointError` if the work folder has checkpoints, none of which is complete.
    """
    if option == "none":
        return None
    if option != "auto":
        chosen = option or configured
        return local_file(chosen) if chosen else None
    folder = CheckpointFolder(work_dir)
    decision: Any = None
    if processes.is_main():  # another process may see an older state of the folder
        decision = folder.newest_complete(), [file.name for file in folder.files]
    found, names = processes.broadcast_object(decision)
    if found is None and names:
        raise CheckpointError(
            f"expected a complete checkpoint in {str(work_dir)!r}, got none: the run cannot "
            f"continue from {', '.join(names)} (the log says why); delete them or use --resume "
            "none to train from the start, or name another file with --resume PATH."
        )
    if found is None:
        get_logger().info(f"No checkpoint in {str(work_dir)!r}: the run starts from the beginning.")
    return found


def same_file(source: Path, target: Path) -> None:
    """Give `source` the second name `target`, at once: as a hard link, else as a copy."""
    partial = partial_of(target)
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
        partial.replace(target)
        sync_folder(target.parent)
    except OSError:  # there are file systems without hard links
        with source.open("rb") as content, atomic_write(target) as copy:
            shutil.copyfileobj(content, copy)
    finally:
        partial.unlink(missing_ok=True)  # a rename between two names of one file does nothing


def iteration_of(checkpoint: Mapping[str, Any]) -> int:
    """Return the number of finished iterations at a checkpoint.

    >>> iteration_of({"meta": {"iter": 7}})
    7
    """
    return int(checkpoint.get("iteration", (checkpoint.get("meta") or {}).get("iter", 0)))


def _iteration_if_complete(path: Path) -> int | None:
    """Return the iteration of a checkpoint to continue from, or None with a warning."""
    try:
        content = read_checkpoint(path)
        if content.get("optimizer"):
            return iteration_of(content)
        reason = "it holds no state of the optimizer"
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
    except (CheckpointError, ValueError) as error:
        reason = str(error)
    get_logger().warning(f"Skipped the checkpoint {str(path)!r}: {reason}")
    return None


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """Return the files whose whole name matches, with their numbers, in order."""
    found = [(re.fullmatch(pattern, p.name), p) for p in folder.glob("*.pth")]
    return sorted((int(match.group(1)), path) for match, path in found if match)
