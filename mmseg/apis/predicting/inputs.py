"""Which images a prediction is asked for: files, folders, patterns, archives.

Every image gets a name for its outputs: its path below the folder that was named.
"""

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmseg.datasets.image_files import files_below
from mmseg.datasets.pairing import SUFFIXES
from mmseg.system import archives
from mmseg.system.errors import ConfigError

WILD = "*?["


@dataclass(frozen=True)
class Input:
    """An image, and its name relative to what was asked for."""

    file: Path
    name: str


def find_inputs(words: Sequence[str]) -> list[Input]:
    """Return the images that the words of a command line mean, each once, in order.

    A word is an image, a folder, an archive, a folder inside of an archive (`a.zip!/images`), or a
    pattern (`photos/*.jpg`; `**` stands for folders at any depth). Names are unique: images of
    several folders that are called alike get the name of their folder in front.

    Raises:
        FileNotFoundError: for a word that means nothing that exists.
        ConfigError: for a folder, archive or pattern without images.
    """
    groups = [_group(word) for word in words]
    names = Counter(one.name for group in groups for one in group)
    if max(names.values(), default=0) > 1:
        groups = [
            [Input(one.file, f"{prefix}/{one.name}") for one in group]
            for prefix, group in zip(_prefixes(words), groups, strict=True)
        ]
    unique = {one.file: one for group in reversed(groups) for one in reversed(group)}
    return list(reversed(unique.values()))


def _group(word: str) -> list[Input]:
    """Return the images that one word means."""
    if Path(word).is_file() and not word.lower().endswith(archives.SUFFIXES):
        return [Input(Path(word), Path(word).name)]
    if Path(word).is_file():
        word += archives.MARK
    if archives.has_folder(word):
        return [Input(Path(word, name), name) for name in _required(files_below(Path(word)), word)]
    if archives.has_file(word):
        return [Input(Path(word), PurePosixPath(word).name)]
    if any(letter in word for letter in WILD):
        found = sorted(name for name in glob.glob(word, recursive=True) if Path(name).is_file())  # noqa: PTH207
        start = _start(word)
        return [
            Input(Path(name), Path(name).relative_to(start).as_posix())
            for name in _required(found, word)
        ]
    raise FileNotFoundError(
        f"expected an image, a folder, an archive or a pattern, got '{word}', which is not there. "
        "Correct the path."
    )


def _required(names: Sequence[str], word: str) -> list[str]:
    images = sorted(name for name in names if name.lower().endswith(SUFFIXES))
    if not images:
        raise ConfigError(
            f"expected images ({', '.join(SUFFIXES)}) in '{word}', got none among {len(names)} "
            "files. Name the folder of the images."
        )
    return images


def _start(pattern: str) -> Path:
    """Return the folder before the first wild card.

    >>> _start("photos/2026*/x.jpg").as_posix()
    'photos'
    """
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if any(letter in part for letter in WILD))
    return Path(*parts[:first])


def _prefixes(words: Sequence[str]) -> list[str]:
    """Return a different short name for each word, its last folder with a number if need be."""
    names: list[str] = []
    for word in words:
        path = Path(word.rstrip("!*"))
        folder = path.parent if path.suffix.lower() in SUFFIXES else path
        stem = folder.name.split(archives.MARK)[0] or "images"
        same = sum(name == stem or name.startswith(f"{stem}_") for name in names)
        names.append(f"{stem}_{same + 1}" if stem in names else stem)
    return names
