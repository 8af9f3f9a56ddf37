"""A dictionary with attribute access that remembers where each key was written."""

import copy
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from mmseg.config.language.origins import Origin
from mmseg.system.errors import ConfigError, nearest

MAX_DEPTH, MAX_VALUES = 100, 1_000_000


class ConfigDict(dict[str, Any]):
    """A dictionary whose keys are attributes too, and that knows where each key was written.

    `origins` has `FILE:LINE` of each key, `path` is the dotted path of this section in its config.
    """

    origins: dict[str, str]
    path: str = ""

    def __init__(
        self, values: Mapping[str, Any] | None = None, origin: Origin | str | None = None
    ) -> None:
        super().__init__()
        check_extent(values or {})
        _fill(self, values or {}, origin if isinstance(origin, Origin) else Origin(origin or ""))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self:
            raise AttributeError(f"the config has no key {name!r}{nearest(name, self)}")
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, wrap(value))

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"the config has no key {name!r}{nearest(name, self)}")
        del self[name]

    def __deepcopy__(self, memo: dict[int, Any]) -> "ConfigDict":
        twin = copy.deepcopy(dict(self), memo)
        return rebuild(type(self), twin, **{**vars(self), "origins": dict(self.origins)})

    def copy(self) -> "ConfigDict":
        """Return a shallow copy that keeps the origins and the path."""
        return rebuild(type(self), dict(self), **{**vars(self), "origins": dict(self.origins)})

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), dict(self), dict(self.origins)), dict(vars(self))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, after setting it to `default` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, other: Any = (), /, **values: Any) -> None:
        """Set keys as `dict.update` does, and take over the origins of another section."""
        for key, value in dict(other, **values).items():
            self[key] = value
        self.origins.update(getattr(other, "origins", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and tuples."""
        return unwrap(self)


def wrap(value: Any, origin: Origin | str | None = None) -> Any:
    """Turn dictionaries into `ConfigDict`, also inside lists, tuples and sets.

    Paths become text, and NumPy's numbers and arrays become numbers and lists of Python.
    """
    check_extent(value)
    return _wrapped(value, Origin(origin) if isinstance(origin, str) else origin)


def unwrap(value: Any) -> Any:
    """Return plain dictionaries, also inside lists and tuples."""
    if isinstance(value, Mapping):
        return {key: unwrap(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(unwrap(item) for item in value)
    return value


def rebuild(
    cls: type[ConfigDict], values: Mapping[str, Any], origins: dict[str, str], **attributes: Any
) -> Any:
    """Make a section from values that are wrapped already (for copies and pickles)."""
    twin = cls.__new__(cls)
    vars(twin).update(attributes, origins=origins)
    for key, value in values.items():
        dict.__setitem__(twin, key, _wrapped(value, None))
    return twin


def plain(value: Any) -> Any:
    """Return the text of a path, and what Python has in place of something of NumPy."""
    if isinstance(value, PurePath):
        return str(value)
    numpy = sys.modules.get("numpy")  # reading a config does not import it
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        long = {numpy.longdouble: float, numpy.clongdouble: complex}  # `tolist` keeps them
        return long.get(type(value), type(value).tolist)(value)
    return value


def check_extent(value: Any, where: str = "") -> None:
    """Raise `ConfigError` for a value that is too deep or too large, or that contains itself."""
    stack, count = [(value, 0)], 0
    while stack:
        item, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"{where}expected at most {MAX_DEPTH} levels of dictionaries and lists, got more "
                "or a value that contains itself. Write it with fewer levels."
            )
        if count > MAX_VALUES:
            raise ConfigError(
                f"{where}expected at most {MAX_VALUES} values, got more. Keep large tables in a "
                "file of their own, and repeat no aliases inside of aliases."
            )
        if isinstance(item, Mapping):
            stack.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend((inner, depth + 1) for inner in item)


def stamp(value: Any, path: str = "") -> None:
    """Tell every section its dotted path."""
    if isinstance(value, ConfigDict):
        vars(value)["path"] = path
    if isinstance(value, ConfigDict | list | tuple):
        for key, item in value.items() if isinstance(value, ConfigDict) else enumerate(value):
            stamp(item, join(path, key))


def join(path: str, key: object) -> str:
    """Return the dotted path of a key of the section at `path`."""
    return f"{path}.{key}" if path else str(key)


def child(node: Any, part: str, path: str, where: str) -> Any:
    """Return one step down a dotted path; `ConfigError` names the whole `path` of a wrong one."""
    if isinstance(node, dict) and part in node:
        return node[part]
    if isinstance(node, list | tuple):
        if part.isdecimal() and int(part) < len(node):
            return node[int(part)]
        raise ConfigError(
            f"{where}: expected the number of an item in {path!r}, counted from 0, among "
            f"{len(node)} items, got {part!r}. Correct the number."
        )
    if not isinstance(node, dict):
        raise ConfigError(f"{where}: {path!r} points into {node!r}, which has no keys.")
    raise ConfigError(f"{where}: the config has no {path!r}{nearest(part, node)}")


def _fill(section: ConfigDict, values: Mapping[str, Any], origin: Origin) -> None:
    inherited = getattr(values, "origins", {})
    vars(section).update(origins={}, path=getattr(values, "path", ""))
    for key, value in values.items():
        at = origin.at(key)
        key = key if isinstance(key, str) else _wrapped(key, None)
        dict.__setitem__(section, key, _wrapped(value, at))
        if text := inherited.get(key) or at.text:
            section.origins[key] = text


def _wrapped(value: Any, origin: Origin | None) -> Any:
    """Wrap a value whose extent was checked; without an origin, sections stay the same objects."""
    value = plain(value)
    if isinstance(value, ConfigDict) and origin is None:
        return value
    if isinstance(value, Mapping):
        section = ConfigDict.__new__(ConfigDict)
        _fill(section, value, origin or Origin(""))
        return section
    if type(value) in (list, tuple):
        items = enumerate(value)
        return type(value)(_wrapped(item, origin and origin.at(n)) for n, item in items)
    if type(value) in (set, frozenset):
        return type(value)(_wrapped(item, None) for item in value)
    return value
