"""Every key of every section refuses every kind of value that its annotation does not name.

Keys, registries and dataclasses are found, not listed, so a new one is covered as it is.
"""

import dataclasses
import importlib
import pkgutil
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

import mmseg
from mmseg.config.checking import Key, check_section, keys_of
from mmseg.config.registry import Registry
from mmseg.config.run_config import RunConfig, read_run
from mmseg.system.errors import ConfigError

# A value of each kind, and the types whose annotation accepts it.
SAMPLES: list[tuple[Any, tuple[Any, ...]]] = [
    ("no such word", (str,)),
    (3, (int, float)),
    (2.5, (float,)),
    (True, (bool,)),
    (None, (type(None),)),
    ([object()], ()),
    ({"no such key": 1}, (dict,)),
    (object(), ()),
]


def all_registries() -> dict[str, Registry]:
    found = {}
    for module in pkgutil.walk_packages(mmseg.__path__, "mmseg."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Registry):
                found[value.kind] = value
    return found


REGISTRIES = all_registries()
TYPES = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]


def parts_of(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation, each perhaps `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for member in get_args(annotation) for part in parts_of(member)]
    return [annotation]


def stripped(part: Any) -> Any:
    return get_args(part)[0] if get_origin(part) is Annotated else part


def kinds_of(annotation: Any) -> set[Any]:
    """Return what an annotation accepts: types, and words of literals."""
    kinds: set[Any] = set()
    for part in map(stripped, parts_of(annotation)):
        origin = get_origin(part)
        if origin is Literal:
            kinds |= {type(None) if word is None else word for word in get_args(part)}
        elif origin in (Mapping, dict) or dataclasses.is_dataclass(part):
            kinds.add(dict)
        elif origin in (Sequence, list, tuple):
            kinds.add(list)
        else:
            kinds.add(part)
    return kinds


def limits_of(part: Any) -> Iterator[Any]:
    """Yield values just outside of the range of an `Annotated` number, or lists of wrong length."""
    metadata = [m for field in get_args(part)[1:] for m in getattr(field, "metadata", [field])]
    for limit in metadata:
        for name, outside in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
            if (edge := getattr(limit, name, None)) is not None:
                yield edge + outside
        if (least := getattr(limit, "min_length", None)) is not None:
            yield "" if stripped(part) is str else [1] * (least - 1)
        if (most := getattr(limit, "max_length", None)) is not None:
            yield [1] * (most + 1)


def wrong_values(wanted: Key) -> Iterator[Any]:
    """Yield values that the annotation of a key does not mean."""
    kinds = kinds_of(wanted.annotation)
    for value, accepting in SAMPLES:
        is_section = value is None and dataclasses.is_dataclass(wanted.annotation)  # an empty one
        if not kinds.intersection(accepting) and not is_section and value is not wanted.default:
            yield value
    parts = parts_of(wanted.annotation)
    numbers = [p for p in parts if stripped(p) in (int, float)]
    for part in numbers if len(numbers) == 1 else []:
        yield from limits_of(part)
        if stripped(part) is float:
            yield float("nan")
    for part in parts:
        if get_origin(stripped(part)) is Sequence and part not in numbers:
            yield from limits_of(part)
            (item,) = get_args(stripped(part))
            yield from ([value] for value in wrong_values(Key("item", item)))


def assert_refused(check: Any, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check(value)
    words = str(caught.value)
    assert key in words, words
    assert ("expected" in words and "got" in words) or "unknown" in words, words


@pytest.mark.parametrize(("kind", "name"), TYPES)
def test_no_registered_class_takes_a_wrong_value(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    for key, wanted in registry.keys(name).items():
        assert wanted.annotation is not Any, f"{name}.{key} has no annotation"
        for value in wrong_values(wanted):
            assert_refused(lambda v, k=key: registry.check({"type": name, k: v}), key, value)


def sections(cls: Any = RunConfig, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield every dataclass that a run reads, and the keys that lead to it."""
    yield cls, path
    for key, wanted in keys_of(cls)[0].items():
        for part in parts_of(wanted.annotation):
            if dataclasses.is_dataclass(part):
                yield from sections(part, (*path, key))


@pytest.mark.parametrize(("cls", "path"), list(sections()), ids=str)
def test_no_section_of_a_run_takes_a_wrong_value(cls: Any, path: tuple[str, ...]) -> None:
    def read(key: str, value: Any) -> None:
        content: Any = {key: value}
        for part in reversed(path):
            content = {part: content}
        read_run({"runner": {"max_iters": 2}, **content})

    for key, wanted in keys_of(cls)[0].items():
        assert wanted.annotation is not Any, f"{cls.__name__}.{key} has no annotation"
        for value in wrong_values(wanted):
            assert_refused(lambda v, k=key: read(k, v), key, value)


def test_the_kinds_of_wrong_values_are_those_meant() -> None:
    """The table above, for one key: all but numbers, numbers out of range, and NaN."""
    share = next(k for k in keys_of(REGISTRIES["training method"].get("DACS"))[0].values()
                 if k.name == "alpha")  # fmt: skip
    wrong = list(wrong_values(share))
    assert wrong[:3] == ["no such word", True, None]
    assert wrong[-3:-1] == [-1, 2]
    with pytest.raises(ConfigError, match="alpha of x: expected a number of at most 1, got 2"):
        check_section({"alpha": 2}, REGISTRIES["training method"].get("DACS"), "x")
