"""Write files that nobody ever sees half-written, and say why a write failed."""

import errno
import hashlib
import io
import json
import os
import platform
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mmseg.system.waiting import beat

SUFFIX = ".partial"
PROBE = b"\0" * 4096  # a full disk still takes empty files
# A temporary file of another machine counts as left over after this time without a write.
QUIET_SECONDS = 600
CHUNK = 2**20  # bytes that are read at once
SPACE = "free space there, or write to another disk"
RIGHTS = "choose a folder that you may write to"
ADVICE = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f unlimited`)",
    errno.EROFS: RIGHTS,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.ENOTDIR: "choose a folder, not a file",
    errno.EEXIST: "choose a folder, not a file",
    errno.ENAMETOOLONG: "choose a shorter path",
}


# What a path may lead to whose reading never ends, or waits for another program.
ENDLESS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class _Stream(io.FileIO):
    """A file that keeps the error of its first failed operation.

    Libraries hide it behind errors of their own: torch.save turns it into a RuntimeError.
    """

    failure: OSError | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            raise

    def write(self, data: Any) -> int:
        beat("writing a file")  # which may take minutes on a slow disk
        with self.watched():
            return super().write(data)

    def fileno(self) -> int:
        """Refuse: a library that writes past this object would hide why a write failed."""
        raise io.UnsupportedOperation("write through the file object")

    def sync(self) -> None:
        """Wait until the data is on the disk."""
        with self.watched():
            os.fsync(super().fileno())


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and rename it to `path` when the block ends.

    The data is flushed to the disk before the rename, the new name after it. If the block raises,
    `path` stays as it was and the temporary file is removed. Missing parent folders are created.
    `OSError`, with a sentence for the user, if the file cannot be written.
    """
    path = Path(path)
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _new(partial)
    except OSError as error:
        raise explained(error, path) from error
    buffer = io.BufferedWriter(stream)
    try:
        with buffer if "b" in mode else _text(buffer) as file:
            yield file
            file.flush()
            stream.sync()
        with stream.watched():
            partial.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        if stream.failure is None:  # an error of the block, not of writing
            raise
        raise explained(stream.failure, path) from error
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any, allow_nan: bool = True) -> None:
    """Write plain values as indented JSON, as `atomic_write` does; NaN only with `allow_nan`."""
    with atomic_write(path, "w") as stream:
        json.dump(content, stream, indent=2, allow_nan=allow_nan)


def partial_of(path: Path) -> Path:
    """Return the name of the temporary file beside `path`: machine, process, final name.

    It is short because the final name may already be as long as the file system allows.
    """
    name = zlib.crc32(os.fsencode(path.name))
    return path.with_name(f".{_machine()}-{os.getpid()}-{name:08x}{SUFFIX}")


def require_writable(folder: str | Path) -> None:
    """Create a folder if necessary, and raise `OSError` unless files can be written there."""
    folder = Path(folder)
    probe = partial_of(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with _new(probe) as stream:
                stream.write(PROBE)
                stream.sync()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, folder) from error


def refuse_endless(path: str | Path, kind: str) -> None:
    """Raise `OSError` if `path` leads to a pipe, a socket or a device and not to a file.

    `kind` says what was expected. Of a path that leads nowhere, the reader itself says so.
    """
    found = None
    with suppress(OSError, ValueError):
        found = ENDLESS.get(stat.S_IFMT(Path(path).stat().st_mode))
    if found is not None:
        raise OSError(
            f"expected {kind} at {str(path)!r}, got {found}, which is never read. Give the path of "
            "a file, and save first what a pipe delivers."
        )


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Add what to do, one or more sentences, to the message of an `OSError` with a number."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror} {advice}") from error


def remove_partials(folder: str | Path) -> list[Path]:
    """Delete temporary files of processes that no longer run, and return their paths."""
    removed = [file for file in Path(folder).glob(f".*{SUFFIX}") if _is_left_over(file)]
    for file in removed:
        file.unlink(missing_ok=True)
    return removed


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a crash, where the file system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _text(buffer: Any) -> io.TextIOWrapper:
    """Write text in UTF-8; bytes of names that Python had to escape become what they were."""
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="surrogateescape")


def _new(partial: Path) -> _Stream:
    """Open a new file, deleting a left-over one, which may be the second name of a good file."""
    partial.unlink(missing_ok=True)
    return _Stream(partial, "x")


def explained(error: OSError, path: Path) -> OSError:
    """Return an error of the same kind that says what to do."""
    number = error.errno or errno.EIO
    said = (
        f"expected to write {str(path)!r}, got: {os.strerror(number)}; "
        f"{ADVICE.get(number, 'check the disk')}, then start the command again (a training with "
        "--resume auto). What was there before is unchanged."
    )
    return OSError(number, said)


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_left_over(file: Path) -> bool:
    """Tell whether nobody writes to a temporary file anymore."""
    machine, _, rest = file.name.removeprefix(".").partition("-")
    process = rest.partition("-")[0]
    if machine == _machine() and process.isdecimal():
        # In a new container, process numbers start over: a killed process had this one's number.
        if int(process) == os.getpid():
            return True
        if sys.platform != "win32":  # there, asking a process would send it Ctrl-C
            return not is_running(int(process))
    with suppress(FileNotFoundError):
        return time.time() - file.stat().st_mtime > QUIET_SECONDS
    return False


def is_running(process: int) -> bool:
    """Tell whether a process exists that can still write."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    # A killed process exists until its parent reaps it, which nobody does in some containers.
    return _state(process) not in ("Z", "X")


def is_stopped(process: int) -> bool:
    """Tell whether a process was stopped by a signal, where the system shows it."""
    return _state(process) in ("T", "t")


def _state(process: int) -> str | None:
    """Return the letter by which Linux calls what a process does."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text("latin-1").rpartition(")")[2].split()[0]
    return None
