"""A disk that is full after a number of files."""

import errno

import pytest

from mmseg.system import files


def let_disk_fill_up(patch: pytest.MonkeyPatch, num_files: int) -> None:
    """Let every process write so many files; then the disk is full."""
    room, original = [num_files], files._Stream.write

    def write(self, content):
        room[0] -= 1
        with self.watched():
            if room[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, content)

    patch.setattr(files._Stream, "write", write)
