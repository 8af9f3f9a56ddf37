"""Which errors are sentences for the user, and which are bugs."""

import difflib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


class ConfigError(ValueError):
    """A config describes something that cannot be built."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return a hint: `; did you mean 'x'?` for the most similar known name, else all of them."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known names are {', '.join(sorted(names))}." if names else "."


def is_for_user(error: BaseException) -> bool:
    """Tell whether the message of an error says what to do, so nobody needs a traceback.

    True for errors of files and configs, and for every ValueError or ImportError that this package
    raises itself. One that comes from a library is a bug.
    """
    if isinstance(error, ConfigError | OSError):
        return True
    trace = error.__traceback__
    if trace is None or not isinstance(error, ValueError | ImportError):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(PACKAGE)
