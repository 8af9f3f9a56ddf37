"""Turn a dataclass of options into the command line of a program, and what is given into it."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from mmseg.config import parse_options
from mmseg.system.options import Option, options_of
from mmseg.system.shipped import as_called

T = TypeVar("T")
SEVERAL = (list, tuple, Mapping)


def parse(kind: type[T], arguments: Sequence[str] | None, doc: str | None, **usual: Any) -> T:
    """Read a command line into a dataclass.

    Args:
        kind: its fields are options, see `mmseg.system.options`. Its `__post_init__` may refuse
            values that do not go together, and its method `warnings`, if it has one, returns lines.
        arguments: None for those of the process.
        doc: the command in one paragraph, and what `--help` ends with; commands of a checkout in it
            are shown as they are called here.
        **usual: defaults of this command that differ from those of `kind`.
    """
    description, _, more = as_called(doc or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # only what is given is set
    )
    options = [replace(one, default=usual.get(one.field, one.default)) for one in options_of(kind)]
    _add_all(parser, options)
    words = sys.argv[1:] if arguments is None else arguments
    given = vars(parser.parse_args(_respelled(words, options)))
    try:
        for one in options:
            if one.field in given and get_origin(one.hint) is Mapping:
                given[one.field] = parse_options(given[one.field])
        chosen = kind(**{**usual, **given})
    except ValueError as error:
        parser.error(as_called(str(error)))
    for line in getattr(chosen, "warnings", list)():
        sys.stderr.write(f"{parser.prog}: warning: {as_called(line)}\n")
    return chosen


def _add_all(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Add options to a parser, those that exclude each other side by side."""
    places: dict[str | None, Any] = {None: parser}
    first = [one.one_of or one.field for one in options].index
    for one in sorted(options, key=lambda one: first(one.one_of or one.field)):
        if one.one_of not in places:
            places[one.one_of] = parser.add_mutually_exclusive_group(required=True)
        names = (one.field,) if one.positional else one.shown_names
        places[one.one_of].add_argument(*names, **_settings(one))


def _settings(one: Option) -> dict[str, Any]:
    """Return what `argparse` should know about an option, besides its name."""
    is_stated = isinstance(one.default, str | int | float | Path) and one.hint is not bool
    text = as_called(one.help)
    shown = f"{text} (default: {one.default})" if is_stated else text
    settings: dict[str, Any] = {"help": shown if one.help else argparse.SUPPRESS}
    has_default = one.default is not MISSING
    if not one.positional:
        settings |= {"dest": one.field, "required": not has_default}
    if one.hint is bool:
        return settings | {"action": "store_const", "const": not one.default}
    nargs = one.nargs or ("?" if one.positional and has_default else None)
    if get_origin(one.hint) in SEVERAL:
        settings["action"], nargs = "extend", one.nargs or "+"
    if one.const is not None:
        settings["const"] = one.const
    settings |= {"type": _reader(one), "nargs": nargs, "choices": one.choices}
    return settings | ({"metavar": one.metavar} if one.metavar else {})


def _reader(one: Option) -> Callable[[str], Any]:
    """Return a function that turns a word into a value of an option, or says what was expected."""
    origin = get_origin(one.hint)
    hint = get_args(one.hint)[0] if origin in SEVERAL else one.hint

    def read(word: str) -> Any:
        try:
            if origin is Mapping:
                parse_options([word])  # all of them together are read later
                return word
            return one.check(word, hint)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _respelled(words: Sequence[str], options: Sequence[Option]) -> list[str]:
    """Return the words with the names that `--help` shows: old ones, `_` and `-` are understood.

    >>> _respelled(["--work_dir=a_b", "x_y"], [Option("work_dir", str, None)])
    ['--work-dir=a_b', 'x_y']
    """
    known = {}
    for one in options:
        for name in (*one.shown_names, *one.also):
            known[name.replace("_", "-")] = one.shown_names[-1]
    split = [word.partition("=") for word in words]
    return [known.get(n.replace("_", "-"), n) + equals + rest for n, equals, rest in split]
