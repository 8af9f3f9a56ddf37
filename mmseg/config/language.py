"""The config language: Python files with `_base_` inheritance, as mmsegmentation 0.16 reads them.

A config file is executed; its public top-level names are the config. `_base_` names one file or a
list of files (relative to this one) to start from. Dictionaries merge; everything else replaces, as
does a dictionary with `_delete_=True`. Every dictionary remembers in `origins` which file set which
key, so errors can name it.
"""

import ast
import copy
import difflib
import importlib
import json
import pprint
import sys
import types
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmseg.config.config_dict import ConfigDict, rebuild, wrap
from mmseg.system.errors import ConfigError, nearest
from mmseg.system.files import atomic_write

BASE, DELETE = "_base_", "_delete_"
# What the program reads at the top level of a config; other names are the user's own variables.
KNOWN_TOP_LEVEL = frozenset(
    ["model", "data", "uda", "optimizer", "optimizer_config", "lr_config", "runner", "evaluation"]
    + ["checkpoint_config", "log_config", "seed", "load_from", "resume_from", "work_dir", "name"]
    + ["find_unused_parameters", "cudnn_benchmark", "custom_imports", "exp", "n_gpus", "git_rev"]
    + ["gpu_model", "log_level", "dist_params", "workflow", "use_ddp_wrapper", "sync_bn"]
    + ["amp", "fp16"]
)
# Options may set keys of these sections even if a config omits them or sets them to None.
OPTIONAL_SECTIONS = ("optimizer_config", "amp", "fp16", "checkpoint_config", "evaluation")


class Config(ConfigDict):
    """A whole config. `filename` is the file it came from, or None."""

    filename: str | None = None

    def __init__(
        self, values: Mapping[str, Any] | None = None, filename: str | None = None
    ) -> None:
        super().__init__(values, filename)
        object.__setattr__(self, "filename", filename)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Config":
        twin = rebuild(type(self), copy.deepcopy(dict(self), memo), dict(self.origins))
        object.__setattr__(twin, "filename", self.filename)
        return twin

    @staticmethod
    def fromfile(path: str | Path) -> "Config":
        """Load a config file (see `load_config`)."""
        return load_config(path)

    @property
    def pretty_text(self) -> str:
        """The whole config as the text of a Python file."""
        return python_text(self.to_dict())

    def dump(self, path: str | Path) -> None:
        """Write the whole config to a `.py` or `.json` file."""
        is_json = Path(path).suffix == ".json"
        with atomic_write(path, "w") as file:
            file.write(json.dumps(self.to_dict(), indent=2) if is_json else self.pretty_text)

    def merge_options(self, options: Mapping[str, Any], source: str = "--cfg-options") -> None:
        """Set values by dotted path: `{'data.train.source.pipeline.2.img_scale': (64, 32)}`.

        `ConfigError` if a part of the path on the way to the last key does not exist.
        """
        for path, value in options.items():
            *parents, last = path.split(".")
            node: Any = self
            is_optional = parents[:1] and parents[0] in OPTIONAL_SECTIONS
            for depth, part in enumerate(parents):
                if is_optional and isinstance(node, dict) and node.get(part) is None:
                    node[part] = wrap({}, source)
                node = _child(node, part, ".".join(parents[: depth + 1]), source)
            if isinstance(node, list):
                _child(node, last, path, source)
                node[int(last)] = wrap(value, source)
            elif isinstance(node, dict):
                node[last] = wrap(value, source)
                getattr(node, "origins", {})[last] = source
            else:
                raise ConfigError(f"{source}: {path!r} points into {node!r}, which has no keys.")

    merge_from_dict = merge_options  # the spelling of mmcv


def python_text(values: Mapping[str, Any]) -> str:
    """Write plain top-level values as the text of a Python file."""
    return "".join(
        f"{key} = {pprint.pformat(value, width=100, sort_dicts=False)}\n"
        for key, value in values.items()
    )


def load_config(path: str | Path) -> Config:
    """Read a config file, with everything it inherits; the suffix `.py` may be left out.

    `FileNotFoundError` names the most similar config files; `ConfigError` if files do not merge.
    """
    file = find_config(path)
    cfg = Config(_read(file, ()), filename=str(file))
    _warn_about_similar_names(cfg)
    _import_custom_modules(cfg)
    return cfg


def find_config(path: str | Path) -> Path:
    """Return the config file that `path` names, with or without its suffix."""
    path = Path(path)
    for candidate in (path, path.with_name(path.name + ".py"), path.with_name(path.name + ".json")):
        if candidate.is_file():
            return candidate
    root = next((p for p in path.parents if p.is_dir()), Path())
    files = [str(p.with_suffix("")) for p in root.rglob("*.py") if "generated" not in p.parts]
    close = difflib.get_close_matches(str(path.with_suffix("")), files[:2000], n=3, cutoff=0.4)
    hint = " The most similar are: " + ", ".join(f"{c}.py" for c in close) + "." if close else ""
    raise FileNotFoundError(f"No config file at {str(path)!r} (with or without .py).{hint}")


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """Turn `['a.b=3', 'c=(1, 2)', 'd=word']` into `{'a.b': 3, 'c': (1, 2), 'd': 'word'}`.

    >>> parse_options(['uda.alpha=0.9', 'name=x', 'data.samples_per_gpu=4'])
    {'uda.alpha': 0.9, 'name': 'x', 'data.samples_per_gpu': 4}
    """
    parsed: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected KEY=VALUE, got {option!r}; write for example seed=1.")
        text = {"true": "True", "false": "False", "none": "None", "null": "None"}.get(text, text)
        try:
            parsed[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            parsed[key] = text.split(",") if "," in text else text
    return parsed


def _read(file: Path, chain: tuple[Path, ...]) -> ConfigDict:
    """Return the merged content of `file` and its bases."""
    file = file.resolve() if file.is_symlink() else file
    if file in chain:
        raise ConfigError(f"{file} inherits from itself through {chain[-1]}; remove one _base_.")
    own = _execute(file)
    bases = own.pop(BASE, [])
    merged = ConfigDict()
    for name in [bases] if isinstance(bases, str) else bases:
        base_file = file.parent / name
        if not base_file.is_file():
            raise FileNotFoundError(f"{file}: its _base_ {name!r} is not at {base_file}.")
        base_file, here = base_file.resolve(), Path.cwd()  # messages name it without `..`
        short = base_file.relative_to(here) if base_file.is_relative_to(here) else base_file
        base = _read(short, (*chain, file))
        for key in base:
            if key in merged:
                raise ConfigError(
                    f"{file}: both {merged.origins[key]} and {base.origins[key]} set {key!r}; "
                    "a key may come from one _base_ only."
                )
        merged.update(base)
        merged.origins.update(base.origins)
    return _merge(merged, ConfigDict(own, str(file)))


def _execute(file: Path) -> dict[str, Any]:
    """Run one config file and return its public names and its `_base_`."""
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return json.loads(source)
    names: dict[str, Any] = {"__file__": str(file), "__name__": file.stem}
    exec(compile(source, str(file), "exec"), names)
    code = types.ModuleType | types.FunctionType | type
    hidden = {k for k, v in names.items() if k.startswith("_") or isinstance(v, code)} - {BASE}
    return {key: value for key, value in names.items() if key not in hidden}


def _merge(base: ConfigDict, child: ConfigDict) -> ConfigDict:
    """Merge `child` into a copy of `base`."""
    merged = base.copy()
    for key, value in child.items():
        old = merged.get(key)
        is_dict = isinstance(value, ConfigDict)
        replaces = value.pop(DELETE, False) if is_dict else True
        if is_dict and not replaces and isinstance(old, ConfigDict):
            value = _merge(old, value)
        elif is_dict and not replaces and key in merged and old is not None:
            raise ConfigError(
                f"{child.origins.get(key, 'the config')}: {key!r} is a dictionary here but "
                f"{type(old).__name__} in {merged.origins.get(key, 'its base')}; "
                "add _delete_=True to replace it."
            )
        merged[key] = value if not is_dict else _without_marks(value)
        if key in child.origins:
            merged.origins[key] = child.origins[key]
    return merged


def _without_marks(section: ConfigDict) -> ConfigDict:
    """Remove `_delete_` marks that had nothing to replace."""
    section.pop(DELETE, None)
    for value in section.values():
        if isinstance(value, ConfigDict):
            _without_marks(value)
    return section


def _child(node: Any, part: str, path: str, source: str) -> Any:
    """Return one step down a dotted path."""
    if isinstance(node, list | tuple) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    if isinstance(node, dict) and part in node:
        return node[part]
    known = list(node) if isinstance(node, dict) else [str(i) for i in range(len(node or []))]
    raise ConfigError(f"{source}: the config has no {path!r}{nearest(part, known)}")


def _warn_about_similar_names(cfg: Config) -> None:
    for key in cfg:
        if key in KNOWN_TOP_LEVEL or key.startswith("name_"):
            continue
        close = difflib.get_close_matches(key, KNOWN_TOP_LEVEL, n=1, cutoff=0.85)
        if close and close[0] not in cfg:
            warnings.warn(
                f"{cfg.origins.get(key)}: {key!r} has no effect; did you mean {close[0]!r}?",
                stacklevel=3,
            )


def _import_custom_modules(cfg: Config) -> None:
    custom = cfg.get("custom_imports")
    if not custom:
        return
    names = custom["imports"]
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in [names] if isinstance(names, str) else names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if not custom.get("allow_failed_imports", False):
                raise ImportError(
                    f"{cfg.origins.get('custom_imports', 'the config')}: custom_imports names "
                    f"{name!r}, which cannot be imported ({error}); is its folder on PYTHONPATH?"
                ) from error
            warnings.warn(f"custom_imports: {name!r} was not imported: {error}", stacklevel=2)
