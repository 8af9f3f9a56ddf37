"""The archive that a test server takes: which pictures it holds, and what may be wrong with them.

Sizes are (width, height); a picture's name is that of its image, as `server_names` has it.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from mmseg.datasets.image_files import PNG_BITS, picture_size, read_color
from mmseg.datasets.integrity import PNG_START, damage_of
from mmseg.datasets.servers import ServerRule
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, refuse_endless

Size = tuple[int, int]
Ids = dict[str, np.ndarray]  # (H, W) uint8, by the names of the pictures
GRAY, INDEXED = ("L",), ("L", "P")  # what Pillow calls 8-bit pictures, gray or with a palette
MAY_BE_READ = 0o644 << 16  # by everybody, as zip files say it
NO_TIME = zipfile.ZipInfo().date_time
SHOWN = 3  # files of each fault that are named
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
BROKEN_MEMBER = (zipfile.BadZipFile, RuntimeError, zlib.error, EOFError)


class Faults:
    """What is wrong with files, gathered one by one and said in one sentence."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def add(self, kind: str, file: str, detail: str = "") -> None:
        """Note that a file has a fault of a kind."""
        self.found.setdefault(kind, []).append(f"'{file}'{detail}")

    def require_none(self, expected: str, place: str | Path, advice: str) -> None:
        """Raise `ConfigError` that counts the files of each kind and names the first ones."""
        said = []
        for kind, files in self.found.items():
            more = ", …" if len(files) > SHOWN else ""
            said.append(f"{len(files)} {kind} ({', '.join(files[:SHOWN])}{more})")
        if said:
            raise ConfigError(f"expected {expected}, got in '{place}': {'; '.join(said)}. {advice}")


@dataclass(frozen=True)
class Wanted:
    """Which pictures a submission holds.

    Attributes:
        sizes: of each image, by the name of its picture; None if the images are not known.
        rule: of the test server.
        suffix: what names end with.
    """

    sizes: Mapping[str, Size] | None
    rule: ServerRule
    suffix: str

    @classmethod
    def of(cls, dataset: Any) -> "Wanted":
        """Return what a submission for the images of a dataset holds."""
        files = [dataset.img_dir / info["filename"] for info in dataset.img_infos]
        sizes = dict(zip(dataset.server_names, map(_image_size, files), strict=True))
        return cls(sizes, dataset.SERVER, dataset.IMG_SUFFIX)

    def match(self, files: Iterable[str], faults: Faults) -> dict[str, str]:
        """Return the file of each picture, by its name, in the order of the images.

        Folders do not count, if the images have different names without them.
        """
        names = self.sizes or {}
        has_folders, found = any("/" in name for name in names), {}
        for file in sorted(files):
            name = file if has_folders else PurePosixPath(file).name
            if not (name in names if self.sizes is not None else name.endswith(self.suffix)):
                faults.add("of no image", file)
            elif name in found:
                faults.add("of the same name as another one", file)
            else:
                found[name] = file
        for name in names if names or found else [f"*{self.suffix}"]:
            if name not in found:
                faults.add("missing", name)
        return {name: found[name] for name in names or found if name in found}

    def size(self, name: str) -> Size:
        """Return the size of a picture; that of the server if the images are not known."""
        return self.rule.size if self.sizes is None else self.sizes[name]


def _image_size(file: Path) -> Size:
    height, width = picture_size(file) or read_color(file).shape[:2]
    return width, height


def require_server_size(wanted: Wanted, folder: str | Path) -> None:
    """Raise `ConfigError` if images have another size than the server takes."""
    faults, size = Faults(), wanted.rule.size
    for name, found in (wanted.sizes or {}).items():
        if found != size:
            faults.add("of another size", name, f" is {_shown(found)}")
    expected = f"images of {_shown(size)}, the size that the test server takes"
    advice = "Use the images as they are downloaded; --split val takes any size, to try the command"
    faults.require_none(expected, folder, f"{advice}.")


@dataclass
class PictureReader:
    """Reads pictures of ids, and notes what is wrong with them.

    Attributes:
        wanted: which pictures there should be.
        modes: how their pixels may be stored, in Pillow's words.
        num_ids: the values are 0 … num_ids - 1.
        faults: what was found so far.
        seen: the values so far.
    """

    wanted: Wanted
    modes: Sequence[str]
    num_ids: int
    faults: Faults = field(default_factory=Faults)
    seen: set[int] = field(default_factory=set)

    def read(
        self, files: Iterable[str], read: Callable[[str], bytes]
    ) -> Iterable[tuple[str, np.ndarray]]:
        """Yield the name and the ids (H, W) uint8 of each picture without a fault."""
        for name, file in self.wanted.match(files, self.faults).items():
            ids = self._ids(file, read(file), self.wanted.size(name))
            if ids is not None:
                yield name, ids

    def _ids(self, file: str, data: bytes, size: Size) -> np.ndarray | None:
        """Return the ids in the bytes of a file; None for a fault."""
        found = _pixels(data)
        if found is None:
            self.faults.add("no PNG, or broken", file)
            return None
        mode, pixels = found
        if mode not in self.modes:
            self.faults.add(f"not of 8-bit ids ({' or '.join(self.modes)})", file, f" is {mode}")
        elif (own := pixels.shape[::-1]) != size:
            self.faults.add("of another size", file, f" is {_shown(own)}, not {_shown(size)}")
        else:
            values = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist()
            self.seen.update(values)
            if values[-1] < self.num_ids:
                return pixels
            self.faults.add(f"with ids above {self.num_ids - 1}", file, f" has {values[-1]}")
        return None


def _pixels(data: bytes) -> tuple[str, np.ndarray] | None:
    """Return what Pillow calls the pixels of a PNG, and the pixels; None of a broken file."""
    if not data.startswith(PNG_START) or damage_of(data):
        return None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            # Of fewer bits, Pillow stretches gray values.
            is_stretched = picture.mode == "L" and data[PNG_BITS] < 8
            return ("L of fewer bits" if is_stretched else picture.mode), np.array(picture)
    except BROKEN:
        return None


def _shown(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def write_submission(file: str | Path, pictures: Mapping[str, bytes], wanted: Wanted) -> int:
    """Write PNG files, by name, as one archive, and return how many `check_submission` finds in it.

    `ConfigError` if it finds a fault; then nothing is written. Equal pictures make equal bytes.
    """
    with atomic_write(file) as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            for name in sorted(pictures):
                info = zipfile.ZipInfo(name)
                info.external_attr = MAY_BE_READ
                archive.writestr(info, pictures[name])  # stored: PNG is compressed
        stream.flush()
        return check_submission(stream.name, wanted, file)[0]


def is_submission(file: Path) -> bool:
    """Tell whether a file was written by `write_submission`; no dataset's archive is."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile:
        return False
    return bool(infos) and all(
        info.filename.endswith(".png") and info.date_time == NO_TIME for info in infos
    )


def check_submission(
    file: str | Path, wanted: Wanted, place: str | Path | None = None
) -> tuple[int, set[int]]:
    """Return how many pictures a submission holds, and which ids.

    `place` is what errors call it, by default the file.

    Raises:
        ConfigError: if it is no zip file, or a picture is missing, superfluous, or wrong.
        FileNotFoundError: if there is no such file.
    """
    refuse_endless(file, "a submission")
    rule = wanted.rule
    expected = f"one 8-bit gray PNG of {rule.ids} for each image"
    try:
        with zipfile.ZipFile(file) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            reader = PictureReader(wanted, GRAY, rule.num_ids)
            count = sum(1 for _ in reader.read(names, lambda name: _member(archive, name)))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"expected a submission at '{file}', got no such file. Correct the path."
        ) from None
    except zipfile.BadZipFile as error:
        raise ConfigError(
            f"expected a submission as a zip file at '{file}', got a broken file or another "
            f"format ({error}). Make it again."
        ) from error
    reader.faults.require_none(expected, place or file, "Make the submission again.")
    return count, reader.seen


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a member, nothing of one that cannot be read."""
    try:
        return archive.read(name)
    except BROKEN_MEMBER:
        return b""
