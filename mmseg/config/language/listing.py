"""List the values of a config one by one, and what differs between two configs."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from mmseg.config.language.config_dict import join, unwrap


def leaves(value: Any, path: str = "", origin: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield dotted path, value and origin of every key that holds no further sections.

    Lists of dictionaries are opened, other lists are one value.
    """
    if isinstance(value, Mapping) and value:
        origins = getattr(value, "origins", {})
        for key, item in value.items():
            yield from leaves(item, join(path, key), origins.get(key, origin))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from leaves(item, join(path, number), origin)
    else:
        yield path, unwrap(value), origin


def differences(first: Any, second: Any, path: str = "") -> Iterator[str]:
    """Yield a line `- key = value` or `+ key = value` for what only the first or second has.

    A value that changed has both. Lists are aligned, so that one more item is one difference; the
    numbers in a path are those of the file that the line is about.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in [*first, *(key for key in second if key not in first)]:
            inner = join(path, key)
            if key in first and key in second:
                yield from differences(first[key], second[key], inner)
            else:
                yield from _lines("-", first[key], inner) if key in first else ()
                yield from _lines("+", second[key], inner) if key in second else ()
    elif type(first) is type(second) and isinstance(first, list | tuple) and _has_sections(first):
        yield from _of_lists(first, second, path)
    elif repr(unwrap(first)) != repr(unwrap(second)):  # so that nan equals nan, and 1 not 1.0
        yield from _lines("-", first, path)
        yield from _lines("+", second, path)


def _of_lists(first: Any, second: Any, path: str) -> Iterator[str]:
    texts = [[repr(unwrap(item)) for item in items] for items in (first, second)]
    for _, a, a_end, b, b_end in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        if a_end - a == b_end - b:
            for n, m in zip(range(a, a_end), range(b, b_end), strict=True):
                yield from differences(first[n], second[m], join(path, n))
            continue
        for n in range(a, a_end):
            yield from _lines("-", first[n], join(path, n))
        for m in range(b, b_end):
            yield from _lines("+", second[m], join(path, m))


def _lines(sign: str, value: Any, path: str) -> Iterator[str]:
    yield from (f"{sign} {inner} = {item!r}" for inner, item, _ in leaves(value, path))


def _has_sections(value: Any) -> bool:
    return any(isinstance(item, Mapping) for item in value)
