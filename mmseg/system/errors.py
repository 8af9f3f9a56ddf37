"""Which errors are sentences for the user, and which are mistakes of the program."""

import difflib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


class ConfigError(ValueError):
    """A config says something that cannot be built."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint: `; did you mean 'x'?` for the most similar known name, else all of them."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known names are {', '.join(sorted(names))}." if names else "."


def is_for_user(error: BaseException) -> bool:
    """Tell whether the message of an error says what to do, so that nobody needs a traceback.

    That is so for errors of files and of configs, and for every ValueError or ImportError that
    this package raises itself. One that comes out of a library is a mistake of the program.
    """
    if isinstance(error, ConfigError | OSError):
        return True
    return isinstance(error, ValueError | ImportError) and _is_raised_here(error)


def _is_raised_here(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(PACKAGE)
