"""Read the text of `--cfg-options KEY=VALUE`."""

import ast
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from mmseg.config.language.config_dict import MAX_DEPTH
from mmseg.system.errors import ConfigError

WORDS = {"true": True, "false": False, "none": None, "null": None}
BRACKETS = {"(": ")", "[": "]", "{": "}"}


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """Turn `['a.b=3', 'c=(1, 2)', 'd=word']` into `{'a.b': 3, 'c': (1, 2), 'd': 'word'}`.

    The last of equal keys wins. `ConfigError` if one key lies inside of another.

    >>> parse_options(['uda.alpha=0.9', 'name=x', 'data.samples_per_gpu=4', 'm=[mIoU,(a,1)]'])
    {'uda.alpha': 0.9, 'name': 'x', 'data.samples_per_gpu': 4, 'm': ['mIoU', ('a', 1)]}
    """
    parsed: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected KEY=VALUE, got {option!r}. Write for example seed=1.")
        parsed[key] = parse_value(text, key)
    for key in parsed:
        inner = next((other for other in parsed if other.startswith(f"{key}.")), None)
        if inner:
            raise ConfigError(
                f"--cfg-options: expected keys that are apart, got {key!r} and {inner!r}, which "
                "lies inside it. Give one of them."
            )
    return parsed


def parse_value(text: str, key: str) -> Any:
    """Return a value as Python would read it, with words in place of quoted strings."""
    if text in WORDS:
        return WORDS[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        items = _split(text, key)
    if len(items) > 1:
        return [parse_value(item.strip(), key) for item in items]
    start, end = text[:1], text[-1:]
    if start not in BRACKETS or BRACKETS[start] != end:
        return text
    items = [item.strip() for item in _split(text[1:-1], key)]
    items = items[: -1 if items[-1] == "" else None]
    if start == "{":
        return dict(_pair(item, key) for item in items)
    values = [parse_value(item, key) for item in items]
    if start == "[":
        return values
    is_one = len(values) == 1 and not text[:-1].rstrip().endswith(",")
    return values[0] if is_one else tuple(values)


def _pair(text: str, key: str) -> tuple[Any, Any]:
    parts = _split(text, key, ":")
    name = parse_value(parts[0].strip(), key)
    if len(parts) < 2 or isinstance(name, list | dict | tuple):
        raise ConfigError(f"--cfg-options: expected NAME: VALUE in {key!r}, got {text!r}. Add it.")
    return name, parse_value(":".join(parts[1:]).strip(), key)


def _split(text: str, key: str, separator: str = ",") -> list[str]:
    """Split at the separators outside of brackets and quotes; `ConfigError` if they do not match.

    A quote counts where an item begins, so that words may have an apostrophe.
    """
    cuts, closing, quote, before = [-1], "", "", separator
    error = ConfigError(
        f"--cfg-options: expected {key}=VALUE with matching brackets and quotes, got {text!r}. "
        "Close every bracket, or put the whole value into quotes."
    )
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and before != "\\" else quote
        elif letter in "'\"" and before in "([{,:":
            quote = letter
        elif letter in BRACKETS:
            closing += BRACKETS[letter]
            if len(closing) > MAX_DEPTH:
                raise error
        elif closing.endswith(letter) and closing:
            closing = closing[:-1]
        elif letter in BRACKETS.values():
            raise error
        elif letter == separator and not closing:
            cuts.append(place)
        before = letter if letter != " " else before
    if closing or quote:
        raise error
    return [text[start + 1 : end] for start, end in pairwise((*cuts, len(text)))]
