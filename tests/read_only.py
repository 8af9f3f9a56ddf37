"""A folder that the tests may not write to, whether they run as a user or as root."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


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
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
    finally:
        for name in (".", *writable, *readable):
            (folder / name).chmod(0o755)
        shutil.rmtree(folder)
