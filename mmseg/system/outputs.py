"""What a command writes never replaces what it reads, nor a file that it did not make.

The checks come before any work. They follow symbolic links, and two names of one file count as the
same file.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.system.archives import archives_of, place
from mmseg.system.errors import ConfigError

PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # how PNG and JPEG files begin
PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
PICKLE_END = b"."


def check_output_folder(
    folder: str | Path, inputs: Iterable[str | Path], what: str = "a folder for outputs"
) -> None:
    """Raise `ConfigError` if a folder is, or lies in, one that the command reads from.

    `inputs` are folders and files; `what` names the output in the sentence.
    """
    for given in inputs:
        if _is_inside(folder, given):
            raise ConfigError(
                f"expected {what} outside of what the command reads, got {str(folder)!r}, which is "
                f"or lies in {str(given)!r}. Choose another folder."
            )


def check_output_file(
    file: str | Path,
    inputs: Iterable[str | Path],
    what: str = "a file to write",
    is_own: Callable[[Path], bool] | None = None,
) -> None:
    """Raise `ConfigError` if a file is one that the command reads, or lies in a folder of such.

    With `is_own`, also if it exists, is not empty and `is_own` says that the command writes no such
    files.
    """
    for given in inputs:
        if _is_inside(file, given):
            raise ConfigError(
                f"expected {what} apart from what the command reads, got {str(file)!r}, which is "
                f"or lies in {str(given)!r}. Choose another name."
            )
    path = Path(file)
    if is_own and path.is_file() and path.stat().st_size and not is_own(path):
        raise ConfigError(
            f"expected {what} that is new or made by this command, got {str(file)!r}, which holds "
            "something else. Choose another name."
        )


def is_picture(file: Path) -> bool:
    """Tell whether a file is a PNG or JPEG picture, by its content."""
    with file.open("rb") as stream:
        return stream.read(8).startswith(PICTURES)


def is_json(*keys: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a file holds a JSON object with these keys."""

    def has_keys(file: Path) -> bool:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and all(key in content for key in keys)

    return has_keys


def is_pickle(file: Path) -> bool:
    """Tell by both ends whether a file is one pickle; none is loaded."""
    with file.open("rb") as stream:
        is_begun = stream.read(2).startswith(PICKLES)
        stream.seek(-1, os.SEEK_END)
        return is_begun and stream.read() == PICKLE_END


def data_folders(section: Mapping[str, Any]) -> list[Path]:
    """Return the folders of images, labels and depth in a section of a config, at any depth.

    Lists of datasets count, too. With folders in archives come the archives themselves.

    >>> data_folders({'source': {'data_root': 'gta', 'img_dir': 'images'}})[0].as_posix()
    'gta/images'
    """
    root = section.get("data_root")
    roots = {"img_dir": root or "", "ann_dir": root or "", "dep_dir": ""}
    own = [(roots[key], section.get(key)) for key in roots]
    folders = [_place(above, name) for above, name in own if name and isinstance(name, str)]
    folders += [archive for folder in folders for archive in archives_of(folder)]
    inner = [v if isinstance(v, list | tuple) else [v] for v in section.values()]
    parts = [part for values in inner for part in values if isinstance(part, Mapping)]
    return folders + [folder for part in parts for folder in data_folders(part)]


def _place(root: str, name: str) -> Path:
    try:
        return place(root, name)
    except OSError:  # it cannot be looked at, which whoever reads it says
        return Path(root, name)


def file_identities(files: Iterable[str | Path]) -> dict[tuple[int, int], str]:
    """Return the files that exist by what tells two files apart, however they are named."""
    found = {}
    for file in files:
        try:
            facts = Path(file).stat()
        except OSError:
            continue
        found[facts.st_dev, facts.st_ino] = str(file)
    return found


def check_replaced(
    written: Iterable[str | Path], read: Iterable[str | Path], expected: str
) -> None:
    """Raise `ConfigError` if a file to write is one that is read; it begins with what is expected.

    `read` is not looked at if none of the files to write exists.
    """
    own = file_identities(written)
    found = file_identities(read) if own else {}
    if replaced := own.keys() & found.keys():
        first = min(replaced)
        raise ConfigError(
            f"expected {expected}, got {own[first]!r}, which is {found[first]!r}. Choose another "
            "folder."
        )


def real_path(path: str | Path) -> Path:
    """Return a path with its links followed, as far as they lead anywhere."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError):  # links in a circle
        return Path(path).absolute()


def png_names(names: Sequence[str], is_flat: bool = False) -> list[str]:
    """Return a PNG name for each image, never one name for two images.

    Folders are kept, with `is_flat` only if there are equal base names; so is the suffix, if names
    differ in nothing else.

    >>> png_names(['a/1.jpg', 'b/2.jpg'], is_flat=True), png_names(['a/1.jpg', 'b/2.jpg'])
    (['1.png', '2.png'], ['a/1.png', 'b/2.png'])
    >>> png_names(['a/1.jpg', 'b/1.jpg'], is_flat=True), png_names(['1.left', '1.right'])
    (['a/1.png', 'b/1.png'], ['1.left.png', '1.right.png'])
    """
    short = [Path(name).with_suffix(".png") for name in names]
    ways = [[path.name for path in short]] if is_flat else []
    ways.append([path.as_posix() for path in short])
    count = len(set(names))  # a list of images may name one twice
    return next((way for way in ways if len(set(way)) == count), [f"{name}.png" for name in names])


def _is_inside(path: str | Path, given: str | Path) -> bool:
    """Tell whether a path, with its links followed, is a given file or folder, or lies in it."""
    real = real_path(path)
    return any(_is_same(place, given) for place in (real, *real.parents))


def _is_same(path: str | Path, other: str | Path) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:  # one of them does not exist
        return real_path(path) == real_path(other)
