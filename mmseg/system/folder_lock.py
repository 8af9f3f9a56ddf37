"""One command at a time writes into a folder.

The file `in_use_by.json` names the one that does. The system holds the lock on it and releases it
when that process is gone, however it ended; so a file that a killed run left is no obstacle, on
another machine either. Where the file system has no locks, the process number tells, if the file
was written on the same machine.
"""

import errno
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mmseg.system.errors import ConfigError
from mmseg.system.files import explained, is_running

LOCK_FILE = "in_use_by.json"
RETRIES = 5  # while others remove the file between our opening and our locking it
# Of file systems without locks, such as some network disks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep others from writing into a folder, which is made if it is missing, during the block.

    `ConfigError` names the process that writes there now. A folder that was made and stayed empty
    is removed.
    """
    path = folder / LOCK_FILE
    try:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        stream = _locked(path)
    except OSError as error:
        raise explained(error, folder) from error
    try:
        yield
    finally:
        with stream, suppress(OSError):  # the folder may be gone
            if _is_at(stream, path):
                path.unlink()
        with suppress(OSError):
            for place in missing:
                place.rmdir()


def is_in_use(folder: Path) -> bool:
    """Tell whether another process writes into a folder now; nothing is changed."""
    try:
        with (folder / LOCK_FILE).open("r+", encoding="utf-8") as stream:
            return not _lock(stream)  # closing it releases the lock
    except OSError:  # there is no such file, or others own it
        return False


def _locked(path: Path) -> IO[str]:
    """Open and lock the file, and write into it who we are."""
    for _ in range(RETRIES):
        stream = path.open("a+", encoding="utf-8")
        stream.seek(0)
        if _lock(stream):
            if _is_at(stream, path):
                own = {"host": platform.node(), "process": os.getpid(), "since": time.ctime()}
                stream.truncate(0)
                stream.write(json.dumps(own))
                stream.flush()
                return stream
            stream.close()  # its former owner has just removed it
            continue
        with stream:
            other = stream.read()
        raise ConfigError(
            f"expected a folder into which no other command writes, got '{path.parent}', in which "
            f"{_described(other)} does. Wait for its end, end it, or choose another folder. (If it "
            f"is gone, delete '{path}'.)"
        )
    raise ConfigError(f"expected to lock '{path}', got other commands that did. Start again.")


def _lock(stream: IO[str]) -> bool:
    """Take the lock of an open file unless another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _is_left_over(stream)
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return _is_left_over(stream)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _is_left_over(stream: IO[str]) -> bool:
    """Tell whether the process that wrote the file is known to be gone."""
    owner = _read(stream.read())
    stream.seek(0)
    if owner.get("host") == platform.node() and isinstance(owner.get("process"), int):
        return owner["process"] == os.getpid() or not is_running(owner["process"])
    return not owner


def _is_at(stream: IO[str], path: Path) -> bool:
    """Tell whether an open file is still the one at a path."""
    try:
        own, there = os.fstat(stream.fileno()), path.stat()
        return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)
    except FileNotFoundError:
        return False


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _described(text: str) -> str:
    owner = _read(text)
    if not owner:
        return "another process"
    return f"process {owner.get('process')} on {owner.get('host')} (since {owner.get('since')})"
