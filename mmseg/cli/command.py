"""Turn a function into a command: it reads options, and ends errors with a sentence."""

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmseg.cli.endings import user_errors
from mmseg.cli.options import parse
from mmseg.system.shipped import as_called

T = TypeVar("T")


def command(
    kind: type[T], doc: str | None, **usual: Any
) -> Callable[[Callable[[T], int | None]], Callable[..., int]]:
    """Return a decorator for a function that takes options of a `kind`.

    What it makes takes the words of the command line, by default those of the process, and returns
    the exit status, 0 where the function returns none; see `parse` for the arguments.
    """

    def decorate(run: Callable[[T], int | None]) -> Callable[..., int]:
        def main(arguments: Sequence[str] | None = None) -> int:
            _speak_on_any_terminal()
            options, status = parse(kind, arguments, doc, **usual), None
            with user_errors():
                status = run(options)
            return status or 0

        return main

    return decorate


def say(line: str) -> None:
    """Print a line for people, at once, with commands as they are called here."""
    sys.stdout.write(f"{as_called(line)}\n")
    sys.stdout.flush()


def _speak_on_any_terminal() -> None:
    r"""Let names that a terminal has no letters for be written as, for example, `\xfc`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
