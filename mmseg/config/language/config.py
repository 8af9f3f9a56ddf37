"""The config language: files with `_base_` inheritance, as mmsegmentation 0.16 reads them.

A config in Python is executed; its public top-level names are the config. One in YAML or JSON has
the same names as keys. `_base_` names one file or a list of files (relative to this one) to start
from. Dictionaries merge; everything else replaces, as does a dictionary with `_delete_=True`. Every
dictionary remembers in `origins` where each key was written, so errors can name it.
"""

import difflib
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from mmseg.config.language.config_dict import ConfigDict, stamp, wrap
from mmseg.config.language.custom_imports import CUSTOM_IMPORTS, import_custom_modules
from mmseg.config.language.dumping import text_of
from mmseg.config.language.known_keys import KNOWN, READ
from mmseg.config.language.merging import merge, set_at
from mmseg.config.language.plain_text import plain_values
from mmseg.config.language.sources import BASE, SUFFIXES, read_source, source_text
from mmseg.config.language.templates import Templates
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, refuse_endless
from mmseg.system.shipped import root

MAX_CHAIN = 30
CONFIGS = Path("configs")
MAX_FILES_OF_HINT = 20_000
# Options may set keys of these sections even if a config omits them or sets them to None.
OPTIONAL_SECTIONS = ("optimizer_config", "amp", "fp16", "checkpoint_config", "evaluation")
OPTIONAL_SECTIONS += ("compile",)


class Config(ConfigDict):
    """A whole config. `filename` is the file it came from, or None; `text` is the file's text."""

    filename: str | None = None
    text: str = ""

    def __init__(
        self, values: Mapping[str, Any] | None = None, filename: str | None = None
    ) -> None:
        super().__init__(values, filename)
        vars(self)["filename"] = filename
        stamp(self)

    @staticmethod
    def fromfile(path: str | Path) -> "Config":
        """Load a config file (see `load_config`)."""
        return load_config(path)

    @staticmethod
    def fromstring(text: str, suffix: str) -> "Config":
        """Read the text of a config file with this suffix; its bases are relative to here."""
        if suffix not in SUFFIXES:
            raise ConfigError(f"expected one of {', '.join(SUFFIXES)}, got {suffix!r}. Choose one.")
        return _config(_merged(text, Path(f"text{suffix}"), ()), None, text)

    @staticmethod
    def from_plain_text(text: str, where: str) -> "Config":
        """Read the text of a whole config of plain values, of which nothing is executed.

        `where` names what holds the text; `ConfigError` for any other text.
        """
        return _config(ConfigDict(plain_values(text, where)), where, text)

    @property
    def pretty_text(self) -> str:
        """The whole config as the text of a Python file."""
        return self.dump()

    def dump(self, path: str | Path | None = None) -> str:
        """Return the whole config as text, and write it to a `.py`, `.json` or `.yaml` file.

        JSON and YAML have no tuples: they come back as lists.
        """
        text = text_of(self.to_dict(), ".py" if path is None else Path(path).suffix)
        if path is not None:
            with atomic_write(path, "w") as file:
                file.write(text)
        return text

    def merge_options(self, options: Mapping[str, Any], source: str = "--cfg-options") -> None:
        """Set values by dotted path: `{'data.train.source.pipeline.2.img_scale': (64, 32)}`.

        `ConfigError` if a part of the path on the way to the last key does not exist.
        """
        for path, value in options.items():
            parts = path.split(".")
            is_optional = len(parts) > 1 and parts[0] in OPTIONAL_SECTIONS
            node: Any = self  # an optional section may lack what lies on the way
            for part in parts[:-1] if is_optional else ():
                if isinstance(node, dict) and node.get(part) is None:
                    node[part] = wrap({}, source)
                node = node[part] if isinstance(node, dict) and part in node else None
            set_at(self, parts, 0, value, source)
        stamp(self)
        if any(path.split(".")[0] == CUSTOM_IMPORTS for path in options):
            import_custom_modules(self)

    def merge_from_dict(self, options: Mapping[str, Any], allow_list_keys: bool = True) -> None:
        """Set values by dotted path, as mmcv spells it; numbers always reach into lists."""
        self.merge_options(options, "merge_from_dict")


def load_config(path: str | Path) -> Config:
    """Read a config file, with everything it inherits; the suffix may be left out.

    `FileNotFoundError` names the most similar config files; `ConfigError` if a file is broken or
    does not merge.
    """
    file = find_config(path)
    return _config(_read(file, ()), str(file), source_text(file))


def find_config(path: str | Path) -> Path:
    """Return the config file that `path` names, with or without its suffix and `configs/`.

    It is looked for in the current folder, then among the program's own.
    """
    path = Path(path)
    refuse_endless(path, "a config")
    folders = [Path()] if path.is_absolute() or ".." in path.parts else [Path(), root()]
    for place in (base / path for folder in folders for base in (folder, folder / CONFIGS)):
        for candidate in (place, *(place.parent / (place.name + suffix) for suffix in SUFFIXES)):
            if candidate.is_file():
                return candidate
    close = _similar_names(path.with_suffix("") if path.suffix in SUFFIXES else path)
    hint = f" The most similar are: {', '.join(close)}." if close else ""
    raise FileNotFoundError(f"No config file at {str(path)!r} (with or without .py).{hint}")


def _similar_names(wanted: Path) -> list[str]:
    """Return configs with names like `wanted`, of the program and of a folder of the user."""
    folder = next((p for p in wanted.parents if p.is_dir()), Path())
    own = [file.relative_to(root()) for file in _configs_in(root() / CONFIGS)]
    names = {str(file.with_suffix("")): str(file) for file in [*own, *_configs_in(folder)]}
    close = difflib.get_close_matches(str(wanted), list(names)[:2000], n=3, cutoff=0.4)
    return [names[name] for name in close]


def _configs_in(folder: Path) -> Iterator[Path]:
    for file in islice(folder.rglob("*"), MAX_FILES_OF_HINT):
        if file.suffix in SUFFIXES and "generated" not in file.parts and file.is_file():
            yield file


def _config(merged: ConfigDict, filename: str | None, text: str) -> Config:
    """Make a config of what was read, and import the modules that it asks for."""
    cfg = Config(merged, filename)
    vars(cfg)["text"] = text
    _warn_about_similar_names(cfg)
    import_custom_modules(cfg)
    return cfg


def _read(file: Path, chain: tuple[Path, ...]) -> ConfigDict:
    """Return the merged content of `file` and its bases."""
    file = file.resolve() if file.is_symlink() else file
    if file in chain:
        raise ConfigError(f"{file} inherits from itself through {chain[-1]}. Remove one _base_.")
    if len(chain) > MAX_CHAIN:
        raise ConfigError(
            f"{file}: expected at most {MAX_CHAIN} files that inherit from each other, got more. "
            "Merge some of them."
        )
    return _merged(source_text(file), file, chain)


def _merged(text: str, file: Path, chain: tuple[Path, ...]) -> ConfigDict:
    """Return the content of a file with this text, merged into its bases."""
    names: dict[str, Any] = {}
    bases = cache(lambda: _merged_bases(names.get(BASE, []), file, chain))
    origin = read_source(text, file, names, Templates(file, bases))
    if not _is_base(names.get(BASE, [])):
        raise ConfigError(
            f"{origin.at(BASE).text}: expected the name of a file or a list of names in _base_, "
            f"got {names[BASE]!r}. Write for example _base_ = 'other.py'."
        )
    merged = bases()
    own = {key: value for key, value in names.items() if key != BASE}
    return merge(merged, ConfigDict(own, origin))


def _is_base(value: Any) -> bool:
    names = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(name, str | Path) for name in names)


def _merged_bases(names: Any, file: Path, chain: tuple[Path, ...]) -> ConfigDict:
    """Return the content of all bases of a file; no two of them may set the same key."""
    merged = ConfigDict()
    if not _is_base(names):
        return merged
    for name in names if isinstance(names, list | tuple) else [names]:
        base_file = _base_file(file, name)
        if base_file.is_dir():
            raise ConfigError(f"{file}: its _base_ {str(name)!r} is a folder. Name a file in it.")
        if not base_file.is_file():
            raise FileNotFoundError(f"{file}: its _base_ {str(name)!r} is not at {base_file}.")
        base_file, here = base_file.resolve(), Path.cwd()  # messages name it without `..`
        short = base_file.relative_to(here) if base_file.is_relative_to(here) else base_file
        base = _read(short, (*chain, file))
        for key in base:
            if key in merged:
                raise ConfigError(
                    f"{file}: both {merged.origins[key]} and {base.origins[key]} set {key!r}. "
                    "Let one _base_ only set it."
                )
        merged.update(base)
    return merged


def _base_file(file: Path, name: str | Path) -> Path:
    """Return what a name in the `_base_` of a file means: `configs/…` may be the program's own."""
    beside, own = file.parent / name, root() / name
    is_own = CONFIGS in Path(name).parents and not beside.exists() and own.is_file()
    return own if is_own else beside


def _warn_about_similar_names(cfg: Config) -> None:
    for key in cfg:
        if key in KNOWN or key.startswith("name_"):
            continue
        close = difflib.get_close_matches(key, READ, n=1, cutoff=0.85)
        if close and close[0] not in cfg:
            warnings.warn(
                f"{cfg.origins.get(key)}: {key!r} has no effect; did you mean {close[0]!r}?",
                stacklevel=3,
            )
