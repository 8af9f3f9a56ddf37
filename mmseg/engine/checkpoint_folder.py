"""The checkpoint files of one run: `iter_N.pth`, `latest.pth`, `best_mIoU_iter_N.pth`."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg.engine.checkpoint import write_checkpoint

LATEST = "latest.pth"


class CheckpointFolder:
    """Writes checkpoints and removes the ones that are no longer wanted.

    `latest.pth` is a second name of the newest `iter_N.pth` (or a copy, where the file system has
    no hard links), so it stays when that file is deleted.
    """

    def __init__(self, path: str | Path, max_keep: int = -1) -> None:
        """Use `path`; keep the newest `max_keep` of the `iter_N.pth`, all of them if negative."""
        self.path = Path(path)
        self.max_keep = max_keep

    @property
    def latest(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        file = self.path / LATEST
        return file if file.is_file() else None

    @property
    def best(self) -> Path | None:
        """The checkpoint with the best evaluation, if there is one."""
        found = _numbered(self.path, r"best_mIoU_iter_(\d+)\.pth")
        return found[-1] if found else None

    def save(self, iteration: int, content: Mapping[str, Any]) -> Path:
        """Write `iter_<iteration>.pth` and `latest.pth`; delete what exceeds `max_keep`."""
        file = self.path / f"iter_{iteration}.pth"
        write_checkpoint(file, content)
        same_file(file, self.path / LATEST)
        if self.max_keep >= 0:
            others = [f for f in _numbered(self.path, r"iter_(\d+)\.pth") if f != file]
            for old in others[: max(0, len(others) + 1 - max(1, self.max_keep))]:
                old.unlink()
        return file

    def save_best(
        self, iteration: int, content: Mapping[str, Any], saved: Path | None = None
    ) -> Path:
        """Write `best_mIoU_iter_<iteration>.pth` and delete the best one before it.

        Args:
            iteration: number of finished iterations.
            content: the checkpoint.
            saved: a file that holds the same checkpoint already.
        """
        file = self.path / f"best_mIoU_iter_{iteration}.pth"
        if saved is None:
            write_checkpoint(file, content)
        else:
            same_file(saved, file)
        for old in _numbered(self.path, r"best_mIoU_iter_(\d+)\.pth"):
            if old != file:
                old.unlink()
        return file


def same_file(source: Path, target: Path) -> None:
    """Give `source` the second name `target`, at once: as a hard link, else as a copy."""
    partial = target.with_name(f".{os.getpid()}-{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)
    partial.unlink(missing_ok=True)  # a rename between two names of one file does nothing


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """Return the files whose whole name matches, by their number."""
    found = [(re.fullmatch(pattern, p.name), p) for p in folder.glob("*.pth")]
    return [p for _, p in sorted((int(m.group(1)), p) for m, p in found if m)]
