"""Turn a function into a command: it reads options, and ends errors with a sentence."""

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

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
            options = parse(kind, arguments, doc, **usual)
            try:
                status = run(options)
            except BaseException:
                from mmseg.cli.endings import user_errors  # imports torch: seconds

                with user_errors():
                    raise
            if processes := sys.modules.get("mmseg.system.processes"):
                processes.shut_down()
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
