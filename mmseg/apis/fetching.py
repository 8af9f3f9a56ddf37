"""Fetch the published weights that configs and commands name; `system/weight_table.py` lists them.

A fetched file's SHA-256 is compared with the published one, and with what was recorded in
`pretrained/sha256.json` when the file was fetched first.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmseg.config import find_config, load_config
from mmseg.engine.provenance import pretrained_files
from mmseg.evaluation.report import text_table
from mmseg.models.legacy import with_present_names
from mmseg.system.downloads import download
from mmseg.system.errors import ConfigError, nearest
from mmseg.system.files import atomic_write, sha256_of, write_json
from mmseg.system.folder_lock import only_writer
from mmseg.system.hub import is_on_hub, local_file, place_of
from mmseg.system.weight_table import FOLDER, HUB, TABLE, WeightFile, Weights, known_as, path_of

SUMS = "sha256.json"
THERE, UNCHECKED, MISSING = "there", "there; no sum is known", "missing"
OTHER, UNKNOWN = "another file, see below", "missing, and not known here"
IN_CACHE = "there, in the hub's cache"
FINE = (THERE, UNCHECKED, IN_CACHE)
Say = Callable[[str], object]


@dataclass(frozen=True)
class Needed:
    """A file that somebody needs; only one of the table is `published`."""

    name: str
    path: Path
    license: str = ""
    published: WeightFile | None = None

    @property
    def address(self) -> str:
        """Where the file is downloaded; '' if it is not published."""
        return self.published.address if self.published else ""

    @property
    def key(self) -> str:
        """The path in a folder that has the file, and in its list of sums."""
        return self.published.path if self.published else ""


class Sums:
    """The SHA-256 of fetched files, in a folder's `sha256.json`."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / SUMS

    @cached_property
    def known(self) -> dict[str, str]:
        """The sums by the path of the file below the folder."""
        if not self.file.is_file():
            return {}
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            return found
        raise ConfigError(
            f"expected a table of SHA-256 sums in '{self.file}', got something else. Delete it."
        )

    def add(self, key: str, value: str) -> None:
        """Record a sum at once, so that it stays if a later file cannot be fetched."""
        self.known[key] = value
        write_json(self.file, dict(sorted(self.known.items())))


def needed_by(words: Sequence[str]) -> list[Needed]:
    """Return the files that names and configs mean, each once; without words, the whole table."""
    found = [one for word in words or TABLE for one in _needed_by(word)]
    return list({one.path: one for one in found}.values())


def fetch_weights(words: Sequence[str], source: Path | None, is_dry: bool, say: Say) -> bool:
    """Fetch what is missing, say what is there, and tell whether everything is.

    `source` is a folder that has the files, instead of the network. Without words, and with
    `is_dry`, nothing is fetched.

    Raises:
        ConfigError: for a word that is neither a known name nor a config, or a file with another
            sum than the published or recorded one.
        DownloadError: if the network fails.
    """
    needed = needed_by(words)
    if source is not None and not source.is_dir():
        raise ConfigError(
            f"expected a folder with files of weights as --from, got '{source}'. Correct it."
        )
    for name, license in {one.name: one.license for one in needed if one.license}.items():
        if words:
            say(f"License of {name}: {license}.")
    sums = [Sums(FOLDER), *([Sums(source)] if source else [])]
    if words and not is_dry:
        with only_writer(FOLDER):
            for one in needed:
                _fetch(one, source, sums)
    states = {one: state_of(one, sums) for one in needed}
    columns = {"weights": [one.name for one in needed], "file": [str(one.path) for one in needed]}
    columns["state"] = list(states.values())
    if not words:
        say(text_table({**columns, "license": [one.license for one in needed]}))
        return True
    say(text_table(columns))
    for line in _advice(states, source):
        say(line)
    return all(state in FINE for state in states.values())


def state_of(needed: Needed, sums: Sequence[Sums]) -> str:
    """Return what there is of a file, in words of a table."""
    if is_on_hub(needed.name):
        try:
            local_file(needed.name, fetches=False)
        except FileNotFoundError:
            return MISSING
        return IN_CACHE
    if not needed.path.is_file():
        return MISSING if needed.published else UNKNOWN
    expected = _expected(needed, sums)
    if not expected:
        return UNCHECKED
    return THERE if _fits(sha256_of(needed.path), expected) else OTHER


def _needed_by(word: str) -> Iterator[Needed]:
    if word in TABLE:
        row = TABLE[word]
        yield from (_published(row, FOLDER / file.path, file) for file in row.files)
        return
    if is_on_hub(word):
        yield _of_path(word)
        return
    try:
        file = find_config(word)
    except FileNotFoundError:
        if "/" in word or word.endswith(".py"):
            raise
        raise ConfigError(
            f"expected the name of published weights, hf://owner/name, or a config, got {word!r}"
            f"{nearest(word, TABLE)} Without any, the command lists the names."
        ) from None
    yield from map(_of_path, _named_in(load_config(file)))


def _named_in(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths and names of weights in a config."""
    sections = {"model": with_present_names(cfg.get("model") or {}), "uda": cfg.get("uda") or {}}
    for name, section in sections.items():
        yield from (path for _, path in pretrained_files(section, name))
    starts = (cfg.get(key) for key in ("load_from", "resume_from"))
    yield from (path for path in starts if path and isinstance(path, str))


def _of_path(path: str) -> Needed:
    if is_on_hub(path):
        repository = place_of(path).repository
        return Needed(path, Path(path), f"see {HUB}{repository}")
    row = known_as(path)
    if row is None or len(row.files) > 1:
        return Needed(path, Path(path))
    return _published(row, path_of(path), *row.files)


def _published(row: Weights, path: Path, file: WeightFile) -> Needed:
    return Needed(row.name, path, row.license, file)


def _fetch(needed: Needed, source: Path | None, sums: Sequence[Sums]) -> None:
    """Put a file in its place, once its sum is right; it stays missing if nobody has it."""
    if is_on_hub(needed.name):
        local_file(needed.name, fetches=source is None)
        return
    if not needed.published or needed.path.is_file():
        return
    needed.path.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        part = download(needed.address, needed.path)
        found = _checked(part, needed, sums, part)
        part.replace(needed.path)
    elif (file := source / needed.key).is_file():
        found = _checked(file, needed, sums)
        with file.open("rb") as content, atomic_write(needed.path) as copy:
            shutil.copyfileobj(content, copy)
    else:
        return
    sums[0].add(needed.key, found)


def _checked(file: Path, needed: Needed, sums: Sequence[Sums], useless: Path | None = None) -> str:
    """Return the sum of a file; a wrong one is a `ConfigError`, and deletes what is `useless`."""
    found, expected = sha256_of(file), _expected(needed, sums)
    if _fits(found, expected):
        return found
    if useless is not None:
        useless.unlink()
    raise ConfigError(
        f"expected {needed.name} with the SHA-256 {' and '.join(expected)}, got {found} in "
        f"'{file}': it is damaged, or another version. Fetch it again; if you trust a new version, "
        f"delete the line of {needed.key!r} in '{sums[0].file}'."
    )


def _expected(needed: Needed, sums: Sequence[Sums]) -> list[str]:
    """Return the published and the recorded sums of a file, or their beginnings."""
    published = needed.published.sha256 if needed.published else ""
    return [s for s in (published, *(known.known.get(needed.key, "") for known in sums)) if s]


def _fits(found: str, expected: Sequence[str]) -> bool:
    return all(found.startswith(beginning) for beginning in expected)


def _advice(states: Mapping[Needed, str], source: Path | None) -> Iterator[str]:
    """Yield what to do about each file that is not there."""
    for one, state in states.items():
        if state == MISSING and one.published:
            beginning = one.published.sha256
            known = f", whose SHA-256 begins with {beginning}" if beginning else ""
            place = source / one.key if source else one.path
            yield f"Missing: {one.name}. Download {one.address} to '{place}'{known}."
        elif state == MISSING:
            yield f"Missing: {one.name}. Fetch it with a network: it goes into the hub's cache."
        elif state == OTHER:
            yield (
                f"'{one.path}' has another SHA-256 than {one.name} as published or first fetched. "
                "Delete it to fetch it again."
            )
        elif state == UNKNOWN:
            yield f"'{one.path}' is not among the published weights: correct it, or put it there."
