"""A dictionary with attribute access that remembers which file set which key."""

import copy
from collections.abc import Mapping
from typing import Any

from mmseg.system.errors import nearest


class ConfigDict(dict[str, Any]):
    """A dictionary whose keys are attributes too, and that knows which file set each key."""

    origins: dict[str, str]

    def __init__(self, values: Mapping[str, Any] | None = None, origin: str | None = None) -> None:
        super().__init__()
        object.__setattr__(self, "origins", {})
        for key, value in (values or {}).items():
            self[key] = wrap(value, origin)
            inherited = getattr(values, "origins", {}).get(key)
            if inherited or origin:
                self.origins[key] = inherited or str(origin)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self:
            raise AttributeError(f"the config has no key {name!r}{nearest(name, self)}")
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, wrap(value, None))

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __deepcopy__(self, memo: dict[int, Any]) -> "ConfigDict":
        return rebuild(type(self), copy.deepcopy(dict(self), memo), dict(self.origins))

    def copy(self) -> "ConfigDict":
        """Return a shallow copy that keeps the origins."""
        return rebuild(type(self), dict(self), dict(self.origins))

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), dict(self), dict(self.origins))

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and tuples."""
        return unwrap(self)


def wrap(value: Any, origin: str | None) -> Any:
    """Turn dictionaries into `ConfigDict`, also inside lists and tuples."""
    if isinstance(value, ConfigDict) and origin is None:
        return value
    if isinstance(value, Mapping):
        return ConfigDict(value, origin)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(wrap(item, origin) for item in value)
    return value


def unwrap(value: Any) -> Any:
    """Return plain dictionaries, also inside lists and tuples."""
    if isinstance(value, Mapping):
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(unwrap(item) for item in value)
    return value


def rebuild(cls: type[ConfigDict], values: dict[str, Any], origins: dict[str, str]) -> Any:
    """Make a section from values that are wrapped already (for copies and pickles)."""
    twin = cls.__new__(cls)
    object.__setattr__(twin, "origins", origins)
    for key, value in values.items():
        twin[key] = value
    return twin
