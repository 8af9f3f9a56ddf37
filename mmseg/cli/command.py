"""Turn a function into a command: it reads options, and ends errors with a sentence."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmseg.cli.endings import user_errors
from mmseg.cli.options import parse

T = TypeVar("T")


def command(
    kind: type[T], doc: str | None, **usual: Any
) -> Callable[[Callable[[T], object]], Callable[..., None]]:
    """Return a decorator for a function that takes options of a `kind`.

    The function takes the words of the command line instead, by default those of the process; see
    `parse` for the arguments.
    """

    def decorate(run: Callable[[T], object]) -> Callable[..., None]:
        def main(arguments: Sequence[str] | None = None) -> None:
            options = parse(kind, arguments, doc, **usual)
            with user_errors():
                run(options)

        return main

    return decorate
