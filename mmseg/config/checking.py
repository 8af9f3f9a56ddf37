"""Check what a config says against the annotations of what reads it.

The keys of a section are the annotated parameters of the class or function that it describes, or
the fields of a dataclass. Pydantic judges the values, strictly: a string is no number, and neither
is True. This module turns what it finds into a sentence.

>>> def circle(radius: int, color: str = "red"): ...
>>> check_section({"radius": "3"}, circle, "circle")
Traceback (most recent call last):
    ...
mmseg.system.errors.ConfigError: radius of circle: expected a whole number, got '3'. Correct it.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable, Container, Iterable, Mapping
from functools import cache, cached_property, partial
from itertools import takewhile
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from mmseg.config.values import Section
from mmseg.system.errors import ConfigError, nearest
from mmseg.system.findings import explain

T = TypeVar("T")
Reader = Callable[..., Any]  # a class, function or dataclass whose parameters are keys
EMPTY = inspect.Parameter.empty
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a section, and the parameter or field that it sets."""

    name: str
    annotation: Any
    default: Any = EMPTY  # EMPTY for a key that has to be set
    field: str = ""  # of a dataclass, where it has another name

    @cached_property
    def judge(self) -> TypeAdapter[Any]:
        """What tells whether a value fits the annotation."""
        try:
            return TypeAdapter(_as_section(self.annotation), config=STRICT)
        except (PydanticSchemaGenerationError, PydanticUserError, NameError):
            return TypeAdapter(Any)  # of a user's own class, with an annotation for other readers

    @property
    def advice(self) -> str:
        """What to do about a wrong value."""
        if self.default is EMPTY or dataclasses.is_dataclass(self.default):
            return "Correct it."
        default = "" if self.default is None else f" for the default, {self.default!r}"
        return f"Correct it, or leave it out{default}."


def key(name: str, default: Any = dataclasses.MISSING) -> Any:
    """Return a dataclass field that reads another key than its own name."""
    return dataclasses.field(default=default, metadata={"key": name})


def checked(reader: Reader, label: str, supplied: tuple[str, ...] = ()) -> BeforeValidator:
    """Mark a section in its annotation: its keys are those of `reader` that are not `supplied`."""
    return each_mapping(partial(check_section, reader=reader, label=label, supplied=supplied))


def each_mapping(check: Callable[[Section], object]) -> BeforeValidator:
    """Annotate a dictionary that `check` may refuse by raising `ConfigError`."""

    def judge(value: Any) -> Any:
        if isinstance(value, Mapping):
            check(value)
        return value

    return BeforeValidator(judge)


def origin(cfg: Section, key: str = "type") -> str:
    """Name the place where `key` of a config section was set, if the section remembers it."""
    place = getattr(cfg, "origins", {}).get(key)
    return f"{place}: " if place else ""


def named(cfg: Section, key: str, label: str) -> str:
    """Name a key by its path in the config, or by what its section is for."""
    path = getattr(cfg, "path", "")
    if path:
        return f"{path}.{key}"
    return f"{key} of {label}" if label else key


def check_keys(cfg: Section, known: Iterable[str], section: str, inert: Iterable[str] = ()) -> None:
    """Raise `ConfigError` for the first key of `cfg` that is neither `known` nor `inert`."""
    known, inert = list(known), set(inert)
    for name in cfg:
        if name not in known and name not in inert:
            raise ConfigError(
                f"{origin(cfg, name)}unknown key {name!r} in {section}{nearest(name, known)}"
            )


def check_section(cfg: Section, reader: Reader, label: str, supplied: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` for an unknown key, a value that does not fit, or a missing key.

    Args:
        cfg: the section.
        reader: its annotated parameters are the keys. Those that it lists as `INERT` may be there
            and have no effect; with `IS_OPEN`, any may.
        label: names the section where it does not know its own path.
        supplied: parameters that the program sets.
    """
    keys, is_open = keys_of(reader)
    keys = {name: wanted for name, wanted in keys.items() if name not in supplied}
    if not is_open and not getattr(reader, "IS_OPEN", False):
        check_keys(cfg, keys, getattr(cfg, "path", "") or label, getattr(reader, "INERT", ()))
    check_values(cfg, keys, label)


def check_values(
    cfg: Section, keys: Mapping[str, Key], label: str, given: Container[str] = ()
) -> None:
    """Raise `ConfigError` for a value that does not fit, or a required key without a value.

    The program itself gives the values of `given`.
    """
    for wanted in keys.values():
        if wanted.name in cfg:
            check_value(cfg, wanted, label)
    for name, wanted in keys.items():
        if wanted.default is EMPTY and name not in cfg and name not in given:
            raise ConfigError(
                f"{origin(cfg)}{label or 'the config'} needs the key {name!r}, which is not set."
            )


def check_value(cfg: Section, wanted: Key, label: str) -> None:
    """Raise `ConfigError` if a value of a section does not fit the annotation of its key."""
    value = cfg[wanted.name]
    if value is wanted.default or (value is None and _is_dataclass(wanted.annotation)):
        return
    try:
        wanted.judge.validate_python(value)
    except ValidationError as error:
        if _fits_as_other_kind_of_list(wanted, value):
            return
        findings = error.errors(include_url=False)
        for finding in findings:
            reason = finding.get("ctx", {}).get("error")
            if isinstance(reason, ConfigError):
                raise reason from None
        place, fault = explain(findings, value)
        name = named(cfg, wanted.name + place, label)
        raise ConfigError(f"{origin(cfg, wanted.name)}{name}: {fault} {wanted.advice}") from None


@cache
def keys_of(reader: Reader) -> tuple[dict[str, Key], bool]:
    """Return the keys of a class, function or dataclass, and whether it takes any others.

    A constructor that takes `**kwargs` hands them to the next class up, whose keys count as well.
    The last one that does may hand them to the dataclass that is named as `settings_class` instead.
    """
    if dataclasses.is_dataclass(reader):
        return {k.name: k for k in map(_key_of_field, dataclasses.fields(reader)) if k}, False
    constructors = [reader]
    if inspect.isclass(reader):
        classes = reader.__mro__[:-1]  # without `object`
        constructors = [c.__dict__["__init__"] for c in classes if "__init__" in c.__dict__]
    settings = getattr(reader, "settings_class", None)
    if settings is not None and (handing := list(takewhile(_hands_on, constructors))):
        constructors = [*handing, settings]
    keys: dict[str, Key] = {}
    # An open chain is really open only for plain functions; a class would hand on to `object`.
    is_open = not inspect.isclass(reader)
    for constructor in constructors:
        for p in _signature(constructor).parameters.values():
            if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
                annotation = Any if p.annotation is EMPTY else p.annotation
                keys.setdefault(p.name, Key(p.name, annotation, p.default))
        if not _hands_on(constructor):
            is_open = False
            break
    return keys, is_open


def _hands_on(constructor: Reader) -> bool:
    """Tell whether a constructor has `**kwargs`; that of torch.nn.Module only to refuse them."""
    is_open = any(p.kind is p.VAR_KEYWORD for p in _signature(constructor).parameters.values())
    return is_open and not constructor.__module__.startswith("torch.")


def read_section(cls: type[T], cfg: Section | None, label: str = "") -> T:
    """Return a dataclass with the values of a config section; None is an empty section.

    A field whose annotation is a dataclass reads a section of its own.
    """
    cfg = {} if cfg is None else cfg
    if not isinstance(cfg, Mapping):
        raise ConfigError(f"{label}: expected a dictionary, got {cfg!r}. Correct it.")
    check_section(cfg, cls, label)
    keys, _ = keys_of(cls)
    present = {key.field: (key, cfg[name]) for name, key in keys.items() if name in cfg}
    return cls(**{field: _converted(key, value) for field, (key, value) in present.items()})


def _converted(key: Key, value: Any) -> Any:
    """Return a checked value as a dataclass holds it: a section as a dataclass of its own."""
    for part in (key.annotation, *get_args(key.annotation)):
        if _is_dataclass(part) and (value is None or isinstance(value, Mapping)):
            if not value and key.default is not EMPTY:  # as if it were left out
                return key.default if value is None or part is key.annotation else part()
            return read_section(part, value, key.name)
    return value


def _key_of_field(field: "dataclasses.Field[Any]") -> Key | None:
    name = field.metadata.get("key", field.name)
    if name is None:
        return None
    default: Any = field.default
    if default is dataclasses.MISSING:
        has_factory = field.default_factory is not dataclasses.MISSING
        default = field.default_factory() if has_factory else EMPTY  # type: ignore[misc]
    return Key(name, field.type, default, field.name)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # annotations that only a type checker can resolve
        return inspect.signature(function)


def _is_dataclass(annotation: Any) -> bool:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def _as_section(annotation: Any) -> Any:
    """Return an annotation whose dataclasses are sections of a config."""
    if _is_dataclass(annotation):
        return Annotated[Section, checked(annotation, annotation.__name__)]
    if get_origin(annotation) in (Union, types.UnionType):
        return Union[tuple(map(_as_section, get_args(annotation)))]  # noqa: UP007
    return annotation


def _fits_as_other_kind_of_list(wanted: Key, value: Any) -> bool:
    """Tell whether a value fits once its lists are tuples, or the other way round.

    YAML and JSON have no tuples, so the difference never matters.
    """
    for kind in (tuple, list):
        try:
            wanted.judge.validate_python(_with_lists(value, kind))
        except ValidationError:
            continue
        return True
    return False


def _with_lists(value: Any, kind: type) -> Any:
    if isinstance(value, list | tuple):
        return kind(_with_lists(item, kind) for item in value)
    return value
