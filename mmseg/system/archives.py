"""Read files inside of archives, where they lie: `gta/01_images.zip!/images/00001.png`.

A `!` ends the name of an archive in a path; behind it, folders and files are those inside. The name
may be a pattern, `gta/*_images.zip!/images`, which stands for all archives that it fits, as if they
had been unpacked into one folder. Zip and uncompressed tar files can be read at any place; nothing
is unpacked to the disk.

A process opens an archive once, and its workers, which may be forks, read through the same file.
"""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath

MARK = "!"
SUFFIXES = (".zip", ".tar")
LOCAL_HEADER = 30  # bytes before the name of a member in a zip file
ENCRYPTED = 1  # the bit of a member's flags
OPEN = 256  # archives, and patterns of them, that are kept open
REPACK = "Pack the files as a zip archive, or unpack them and give the folder"


class Archive:
    """The members of a zip or tar file, which are read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")  # closed with the last reader
        try:
            self.sizes = self._index()
        except (zipfile.BadZipFile, tarfile.TarError, NotImplementedError) as error:
            raise ValueError(
                f"expected a zip or an uncompressed tar archive at '{path}', got a broken file or "
                f"another format ({error}). Fetch it again. {REPACK}."
            ) from error

    def _index(self) -> dict[str, int]:
        """Return the size in bytes of each member; note how to find its content."""
        self._zipped: dict[str, zipfile.ZipInfo] = {}
        self._offsets: dict[str, int] = {}
        if self.path.suffix.lower() == ".tar":
            with tarfile.open(self.path, "r:") as tar:
                members = [member for member in tar if member.isfile()]
            self._offsets = {_name(m.name): m.offset_data for m in members}
            return {_name(m.name): m.size for m in members}
        infos = zipfile.ZipFile(self._file).infolist()
        self._zipped = {_name(info.filename): info for info in infos if not info.is_dir()}
        return {name: info.file_size for name, info in self._zipped.items()}

    def read(self, name: str) -> bytes:
        """Return the content of a member; `ValueError` if it is damaged."""
        if name in self._offsets:
            return self._at(self._offsets[name], self.sizes[name])
        info = self._zipped[name]
        if info.flag_bits & ENCRYPTED or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            how = "encrypted" if info.flag_bits & ENCRYPTED else f"method {info.compress_type}"
            raise ValueError(
                f"expected stored or deflated files in '{self.path}', got '{name}', which is "
                f"{how}. {REPACK}."
            )
        header = self._at(info.header_offset, LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        data = self._at(info.header_offset + LOCAL_HEADER + lengths, info.compress_size)
        try:
            if info.compress_type == zipfile.ZIP_DEFLATED:
                data = zlib.decompress(data, -zlib.MAX_WBITS, info.file_size)
        except zlib.error as error:
            raise ValueError(self._damaged(name, str(error))) from error
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise ValueError(self._damaged(name, "its checksum is wrong"))
        return data

    def _at(self, offset: int, count: int) -> bytes:
        """Read from a place without moving the file's own, which other processes share."""
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), count, offset)
        with self.path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(count)

    def _damaged(self, name: str, reason: str) -> str:
        return (
            f"expected an intact file '{name}' in the archive '{self.path}', got a damaged one "
            f"({reason}). Fetch the archive again."
        )


def is_inside(path: str | Path) -> bool:
    """Tell whether a path leads into an archive.

    >>> is_inside("gta/01_images.zip!/images"), is_inside("gta/wow!/images")
    (True, False)
    """
    return _split(path) is not None


def has_folder(path: str | Path) -> bool:
    """Tell whether there is a folder, on the disk or in an archive."""
    parts = _split(path)
    if parts is None:
        return Path(path).is_dir()
    members = _members(parts[0])
    return members is not None and (not parts[1] or bool(_below(parts[0], parts[1])))


def place(root: str | Path, name: str | Path) -> Path:
    """Return where a folder is: below `root`, or in the archives that lie in `root`.

    In these, it is at the top, or in one folder, as `RAND_CITYSCAPES/RGB`. If it is nowhere, it is
    expected below `root`.
    """
    plain = Path(root, name)
    return plain if not str(root) or has_folder(plain) else _packed(root, name) or plain


def _packed(root: str | Path, name: str | Path) -> Path | None:
    """Return where a folder is in the archives that lie in `root`."""
    for suffix in SUFFIXES:
        packed = Path(f"{Path(root).as_posix()}/*{suffix}{MARK}")
        tops = {part.partition("/")[0] for part in names_below(packed)}
        for folder in (packed / name, *(packed / top / name for top in sorted(tops))):
            if has_folder(folder):
                return folder
    return None


def has_file(path: str | Path) -> bool:
    """Tell whether there is a file, on the disk or in an archive."""
    parts = _split(path)
    return Path(path).is_file() if parts is None else parts[1] in (_members(parts[0]) or {})


def file_size(path: str | Path) -> int | None:
    """Return the size of a file in bytes; None if there is none."""
    parts = _split(path)
    if parts is None:
        return Path(path).stat().st_size if Path(path).is_file() else None
    owner = (_members(parts[0]) or {}).get(parts[1])
    return None if owner is None else owner.sizes[parts[1]]


def names_below(folder: str | Path) -> list[str]:
    """Return the names of all files below a folder in an archive, relative to it."""
    parts = _split(folder)
    assert parts is not None
    return _below(*parts)


def read(path: str | Path) -> bytes:
    """Return the content of a file in an archive; `FileNotFoundError` if it is not there."""
    parts = _split(path)
    assert parts is not None
    owner = (_members(parts[0]) or {}).get(parts[1])
    if owner is None:
        raise FileNotFoundError(f"no such file in the archive: '{path}'")
    return owner.read(parts[1])


def archives_of(path: str | Path) -> list[Path]:
    """Return the archives that a path leads into, sorted."""
    parts = _split(path)
    return [] if parts is None else _fitting(parts[0])


def _split(path: str | Path) -> tuple[str, str] | None:
    """Return the name or pattern of the archives and the path inside, or None of other paths."""
    text = Path(path).as_posix()
    at = text.find(f"{MARK}/")
    while at >= 0 or text.endswith(MARK):
        at = len(text) - 1 if at < 0 else at
        if text[:at].lower().endswith(SUFFIXES):
            return text[:at], text[at + 2 :]
        if at == len(text) - 1:
            break
        at = text.find(f"{MARK}/", at + 1)
    return None


def _fitting(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_file() or not path.parent.is_dir():
        return [path] if path.is_file() else []
    return sorted(path.parent.glob(path.name))


def _members(pattern: str) -> dict[str, Archive] | None:
    """Return which archive holds each file, or None without an archive of that name."""
    folder = Path(pattern).parent
    known = _known(pattern, folder.stat().st_mtime_ns) if folder.is_dir() else ()
    archives = tuple(_archive(path, *_facts(path)) for path in known)
    return _joined(archives) if archives else None


@lru_cache(OPEN)
def _known(pattern: str, time: int) -> tuple[Path, ...]:
    """Return the archives that a pattern fits; `time` is when their folder was changed."""
    return tuple(_fitting(pattern))


def _facts(path: Path) -> tuple[int, int]:
    """Return what changes when an archive is replaced."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


@lru_cache(OPEN)
def _archive(path: Path, size: int, time: int) -> Archive:
    return Archive(path)


@lru_cache(OPEN)
def _joined(archives: tuple[Archive, ...]) -> dict[str, Archive]:
    return {name: archive for archive in archives for name in archive.sizes}


def _below(pattern: str, folder: str) -> list[str]:
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    names: Iterable[str] = _members(pattern) or ()
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _name(stored: str) -> str:
    """Return the name of a member without './' in front, as people write it."""
    return PurePosixPath(stored.replace("\\", "/")).as_posix().removeprefix("/")
