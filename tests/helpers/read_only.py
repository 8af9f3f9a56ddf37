"""A folder that the tests may not write to, whether they run as a user or as root."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Become somebody else for the block if this is root, who may write everywhere.

    The test is skipped where nobody but root can reach `folder`.
    """
    if not hasattr(os, "geteuid"):
        pytest.skip("needs users as Unix has them")
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        try:
            folder.stat()
        except PermissionError:
            pytest.skip(f"needs a folder for temporary files that is not root's alone: {folder}")
        yield
    finally:
        os.seteuid(user)


@contextmanager
def read_only_folder(writable: Sequence[str] = (), readable: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a folder in which nothing can be made, but in its folders `writable`.

    Root may write everywhere, so it becomes somebody else for the block. Everything that the
    block reads has to be in the folder, or readable for everybody.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        for name, mode in (*((n, 0o777) for n in writable), *((n, 0o555) for n in readable)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        folder.chmod(0o555)
        with without_rights(folder):
            yield folder
    finally:
        for name in (".", *writable, *readable):
            (folder / name).chmod(0o755)
        shutil.rmtree(folder)
