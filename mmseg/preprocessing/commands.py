"""How the preprocessing commands end: with one sentence, not with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmseg.errors import is_for_user
from mmseg.interruption import EXIT_STATUS, Interruption, RunInterrupted


@contextmanager
def one_sentence(program: str) -> Iterator[None]:
    """End with a line `program: …` for errors of files and configs, and for signals."""
    try:
        yield
    except RunInterrupted as stop:
        sys.stderr.write(f"{program}: {stop}\n")
        sys.exit(EXIT_STATUS)
    except (OSError, ValueError, ImportError) as error:
        if not is_for_user(error):
            raise
        sys.exit(f"{program}: {error}")


class Watch:
    """Ends a long work between two items when a signal asks for it.

    Args:
        interruption: notes the signals.
        what: the items, for the message.
        total: how many there are.
    """

    def __init__(self, interruption: Interruption, what: str, total: int) -> None:
        self.interruption, self.what, self.total = interruption, what, total

    def __call__(self, items: Iterator) -> Iterator:
        """Yield the items; after a signal, raise `RunInterrupted` instead of the next one."""
        for done, item in enumerate(items, 1):
            yield item
            if self.interruption.requested and done < self.total:
                raise RunInterrupted(
                    f"Stopped by {self.interruption.signal_name} after {done} of {self.total} "
                    f"{self.what}. Start the same command again to continue."
                )
