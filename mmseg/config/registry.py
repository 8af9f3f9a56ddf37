"""Find the class that a config's `type` names, and check its keys before building it.

>>> SHAPES = Registry('shape')
>>> @SHAPES.register('circle', inert=('color',))
... class Circle:
...     def __init__(self, radius): self.radius = radius
>>> SHAPES.build(dict(type='circle', radius=3, color='red')).radius
3
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from mmseg.system.errors import ConfigError, nearest

T = TypeVar("T", bound=Callable[..., Any])


def origin(cfg: Mapping[str, Any], key: str = "type") -> str:
    """Name the file that set `key` of a config section, if the section remembers it."""
    file = getattr(cfg, "origins", {}).get(key)
    return f"{file}: " if file else ""


def check_keys(
    cfg: Mapping[str, Any], known: Iterable[str], section: str, inert: Iterable[str] = ()
) -> None:
    """Raise `ConfigError` for the first key of `cfg` that is neither `known` nor `inert`."""
    known, inert = list(known), set(inert)
    for key in cfg:
        if key not in known and key not in inert:
            raise ConfigError(
                f"{origin(cfg, key)}unknown key {key!r} in {section}{nearest(key, known)}"
            )


class Registry:
    """The classes that one kind of config section can name by `type`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, Callable[..., Any]] = {}
        self._inert: dict[str, tuple[str, ...]] = {}

    def register(
        self, name: str | None = None, inert: tuple[str, ...] = (), force: bool = False
    ) -> Callable[[T], T]:
        """Make a class (or function) available to configs, as a decorator.

        Args:
            name: the `type` to use; the class's own name when left out.
            inert: keys that configs in the wild carry and that have no effect.
            force: replace a class of the same name instead of raising `KeyError`.
        """

        def add(cls: T) -> T:
            key = name or getattr(cls, "__name__", str(cls))
            if key in self._classes and not force and not _is_same(self._classes[key], cls):
                raise KeyError(f"A {self.kind} named {key!r} exists already; choose another name.")
            self._classes[key] = cls
            self._inert[key] = inert
            return cls

        return add

    register_module = register  # the spelling of mmsegmentation, which users' own code uses

    def __contains__(self, name: str) -> bool:
        return name in self._classes

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        return sorted(self._classes)

    def get(self, name: str, where: str = "") -> Callable[..., Any]:
        """Return the class called `name`; raise `ConfigError` with the nearest name if none is."""
        if name not in self._classes:
            raise ConfigError(
                f"{where}unknown {self.kind} type {name!r}{nearest(name, self.names())}"
            )
        return self._classes[name]

    def build(self, cfg: Mapping[str, Any], **defaults: Any) -> Any:
        """Build what `cfg` describes; `defaults` fill the keys that `cfg` leaves out.

        `ConfigError` for a missing or unknown `type`, an unknown key, or a missing required key.

        A class may hand the keys that it does not know to another one of the registry, which the
        config names under the class's `inner_type_key`.
        """
        if not isinstance(cfg, Mapping) or "type" not in cfg:
            raise ConfigError(f"expected a dict with a 'type' for a {self.kind}, got {cfg!r}.")
        kind = cfg["type"]
        cls = kind if callable(kind) else self.get(kind, origin(cfg))
        inert = self._inert.get(kind, ()) if isinstance(kind, str) else ()
        arguments = {k: v for k, v in cfg.items() if k != "type" and k not in inert}
        required, known, is_open = _parameters(cls)
        inner_key = getattr(cls, "inner_type_key", "")
        if inner := arguments.get(inner_key):
            known = known + _parameters(self.get(inner, origin(cfg, inner_key)))[1]
            known += self._inert[inner]
        section = f"{self.kind} {kind!r}"
        if not is_open:
            check_keys(cfg, known, section, ("type", *inert))
        arguments = {**{k: v for k, v in defaults.items() if v is not None}, **arguments}
        missing = [k for k in required if k not in arguments]
        if missing:
            raise ConfigError(
                f"{origin(cfg)}{section} needs the key {missing[0]!r}, which is not set."
            )
        return cls(**arguments)


def _is_same(first: Any, second: Any) -> bool:
    """Tell whether two classes are one class whose module was executed twice."""
    return (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)


def _parameters(cls: Callable[..., Any]) -> tuple[list[str], list[str], bool]:
    """Return (required, known, open) parameter names of a class or function.

    A constructor that takes `**kwargs` hands them to the next class up, whose names count as well.
    A class may instead hand them to the dataclass that it names as `settings_class`.
    `open` is True for a function (or a class's last constructor) that takes any keyword.
    """
    constructors = [cls]
    if inspect.isclass(cls):
        classes = cls.__mro__[:-1]  # without `object`
        constructors = [c.__dict__["__init__"] for c in classes if "__init__" in c.__dict__]
    settings = getattr(cls, "settings_class", None)
    if settings is not None:
        constructors[1:] = [settings]
    known: dict[str, bool] = {}  # name: whether it is required
    # An open chain is really open only for plain functions; a class would hand on to `object`.
    is_open = not inspect.isclass(cls)
    for constructor in constructors:
        parameters = inspect.signature(constructor).parameters.values()
        for p in parameters:
            if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
                known.setdefault(p.name, p.default is p.empty)
        has_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        # torch.nn.Module accepts any keyword only to reject it: it closes the chain.
        if not has_any or constructor.__module__.startswith("torch."):
            is_open = False
            break
    return [name for name, is_required in known.items() if is_required], list(known), is_open


BACKBONES = Registry("backbone")
NECKS = Registry("neck")
HEADS = Registry("decode head")
LOSSES = Registry("loss")
SEGMENTORS = Registry("segmentor")
UDA = Registry("training method")
DATASETS = Registry("dataset")
PIPELINES = Registry("pipeline step")
