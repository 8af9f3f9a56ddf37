"""Find the class that a config's `type` names, and check its keys before building it.

>>> SHAPES = Registry('shape')
>>> @SHAPES.register('circle', inert=('color',))
... class Circle:
...     def __init__(self, radius): self.radius = radius
>>> SHAPES.build(dict(type='circle', radius=3, color='red')).radius
3
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BeforeValidator

from mmseg.config.checking import (
    Key,
    Reader,
    check_keys,
    check_value,
    check_values,
    each_mapping,
    keys_of,
    origin,
)
from mmseg.config.values import Section
from mmseg.system.errors import ConfigError, nearest

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered class (or function)."""

    cls: Callable[..., Any]
    reader: Reader  # whose parameters are the keys of the section
    inert: tuple[str, ...] = ()


class Registry:
    """The classes that one kind of config section can name by `type`.

    `supplied` are parameters that the program sets, not the config.
    """

    def __init__(self, kind: str, supplied: Iterable[str] = ()) -> None:
        self.kind, self.supplied = kind, frozenset(supplied)
        self._entries: dict[str, Entry] = {}

    def register(
        self,
        name: str | Callable[..., Any] | None = None,
        inert: tuple[str, ...] = (),
        force: bool = False,
        reader: Reader | None = None,
        module: Callable[..., Any] | None = None,
    ) -> Callable[[T], T]:
        """Make a class (or function) available to configs, as a decorator with or without brackets.

        Args:
            name: the `type` to use; the class's own name when left out.
            inert: keys that configs in the wild carry and that have no effect, besides those of the
                registered classes that the class inherits from.
            force: replace a class of the same name instead of raising `ConfigError`.
            reader: a dataclass whose fields are the keys, for a class that is not annotated.
            module: the class, where this is no decorator.
        """

        def add(cls: T) -> T:
            key = name if isinstance(name, str) else getattr(cls, "__name__", str(cls))
            if key in self and not force and not _is_same(self.get(key), cls):
                raise ConfigError(
                    f"expected a new name for the {self.kind} of '{cls.__module__}', got {key!r}, "
                    "which exists already. Choose another name, or register it with force=True."
                )
            parents = [e for e in self._entries.values() if e.cls in getattr(cls, "__mro__", ())]
            ignored = (*inert, *(name for parent in parents for name in parent.inert))
            self._entries[key] = Entry(cls, reader or cls, ignored)
            return cls

        given: Any = name if callable(name) else module
        return add if given is None else add(given)  # as a decorator without brackets wants it

    register_module = register  # the spelling of mmsegmentation, which users' own code uses

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        return sorted(self._entries)

    def get(self, name: str, where: str = "") -> Callable[..., Any]:
        """Return the class called `name`; raise `ConfigError` with the nearest name if none is."""
        return self._entry(name, where).cls

    def class_of(self, section: Section) -> Callable[..., Any]:
        """Return the class that the `type` of a section is or names."""
        kind: Any = section.get("type")
        return kind if callable(kind) else self.get(kind)

    def keys(self, name: str) -> dict[str, Key]:
        """Return what a section of this `type` may set."""
        keys, _ = keys_of(self._entry(name).reader)
        return {key: wanted for key, wanted in keys.items() if key not in self.supplied}

    @property
    def checked(self) -> BeforeValidator:
        """Annotate a section that names one of these classes: `Annotated[Section, X.checked]`."""
        return each_mapping(self.check)

    def check(self, cfg: Section) -> None:
        """Raise `ConfigError` unless `build` could use the section; nothing is built."""
        self._read(cfg, {})

    def build(self, cfg: Section, **defaults: Any) -> Any:
        """Build what `cfg` describes; `defaults` fill the keys that `cfg` leaves out.

        `ConfigError` for a missing or unknown `type`, an unknown key, a value that does not fit the
        annotation of its parameter, or a missing required key.
        """
        make, arguments = self.prepare(cfg, **defaults)
        return make(**arguments)

    def prepare(self, cfg: Section, **defaults: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Return the class that `build` would call, and the arguments, checked."""
        given = {key: value for key, value in defaults.items() if value is not None}
        entry = self._read(cfg, given)
        values = {k: v for k, v in cfg.items() if k != "type" and k not in entry.inert}
        known, is_open = keys_of(entry.cls)
        if not is_open:  # what the program supplies, a class may do without
            given = {k: v for k, v in given.items() if k in known or k not in self.supplied}
            if lacking := [key for key in given if key not in known]:
                raise ConfigError(
                    f"{origin(cfg)}expected a {self.kind} that takes {lacking[0]!r}, which is "
                    f"{given[lacking[0]]!r} here, got {cfg['type']!r}, which does not. Add the "
                    "parameter to its constructor, or set it to None where the config states it."
                )
        return entry.cls, {**given, **values}

    def _read(self, cfg: Any, given: Section) -> Entry:
        """Return the class that a section names, once all of it has been checked.

        A class may hand the keys that it does not know to another one of the registry, which the
        config names under the class's `inner_type_key`.
        """
        if not isinstance(cfg, Mapping) or "type" not in cfg:
            path = getattr(cfg, "path", "")
            raise ConfigError(
                f"{path}{': ' if path else ''}expected a dict with a 'type' for a {self.kind}, got "
                f"{cfg!r}. Name its type."
            )
        kind = cfg["type"]
        entry = Entry(kind, kind) if callable(kind) else self._entry(kind, origin(cfg))
        keys, is_open = keys_of(entry.reader)
        inner_key = getattr(entry.cls, "inner_type_key", "")
        label = f"{self.kind} {getattr(kind, '__name__', kind)!r}"
        if inner_key in cfg:
            check_value(cfg, keys[inner_key], label)
            inside = self._entry(cfg[inner_key])
            keys = {**keys_of(inside.reader)[0], **keys}
            entry = Entry(entry.cls, entry.reader, (*entry.inert, *inside.inert))
        keys = {k: wanted for k, wanted in keys.items() if k not in self.supplied}
        if not is_open:
            check_keys(cfg, keys, label, ("type", *entry.inert))
        check_values(cfg, keys, label, given)
        return entry

    def _entry(self, name: object, where: str = "") -> Entry:
        if not isinstance(name, str) or name not in self._entries:
            raise ConfigError(
                f"{where}unknown {self.kind} type {name!r}{nearest(name, self.names())}"
            )
        return self._entries[name]


def _is_same(first: Any, second: Any) -> bool:
    """Tell whether two classes are one class whose module was executed twice."""
    return (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)


BACKBONES = Registry("backbone")
NECKS = Registry("neck")
HEADS = Registry("decode head")
LOSSES = Registry("loss")
SEGMENTORS = Registry("segmentor")
UDA = Registry("training method", supplied=("model", "max_iters"))
DATASETS = Registry("dataset")
PIPELINES = Registry("pipeline step")
MASK_GENERATORS = Registry("mask generator")
