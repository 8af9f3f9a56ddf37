"""How commands end: with one sentence instead of a traceback, and with the right exit status."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mmseg.apis.run_folder import is_sentence
from mmseg.engine.checkpoint import CheckpointError
from mmseg.system import processes
from mmseg.system.full_memory import FullMemoryError
from mmseg.system.interruption import EXIT_STATUS, RunInterrupted


@contextmanager
def user_errors() -> Iterator[None]:
    """End the command with one sentence instead of a traceback for errors of config and files."""
    try:
        yield
    except processes.ProcessGroupError as error:
        _end_alone(f"{type(error).__name__}: {error}")
    except FullMemoryError as error:
        end = _end_alone if processes.world_size() > 1 else sys.exit
        end(f"{type(error).__name__}: {error}")
    except RunInterrupted as reason:
        if processes.is_main():
            sys.stderr.write(f"{reason}\n")
        processes.shut_down()
        sys.exit(EXIT_STATUS)
    except FloatingPointError as error:  # all processes have the same
        is_main = processes.is_main()
        processes.shut_down()
        sys.exit(f"{type(error).__name__}: {error}" if is_main else 1)
    except (CheckpointError, ValueError, OSError, ImportError) as error:
        if not is_sentence(error):
            raise
        sys.exit(f"{type(error).__name__}: {error}")
    processes.shut_down()


def _end_alone(sentence: str) -> NoReturn:
    """End a process that the others do not end with, with status 1.

    Not by `sys.exit`: while Python ends it would wait for the process group and for kernels that
    wait for a lost process, on a GPU forever. So this flushes what matters and goes.
    """
    sys.stderr.write(f"{sentence}\n")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)
