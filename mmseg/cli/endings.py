"""How commands end: with one sentence instead of a traceback, and with the right exit status."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmseg.apis.run_folder import is_sentence
from mmseg.engine.checkpoint import CheckpointError
from mmseg.system import processes
from mmseg.system.ending import end_process
from mmseg.system.full_memory import FullMemoryError
from mmseg.system.interruption import EXIT_STATUS, RunInterrupted
from mmseg.system.shipped import as_called
from mmseg.system.workers import WorkerError


@contextmanager
def user_errors() -> Iterator[None]:
    """End the command with one sentence instead of a traceback for errors of config and files."""
    try:
        yield
    except (processes.ProcessGroupError, WorkerError) as error:
        end_process(f"{type(error).__name__}: {error}")
    except FullMemoryError as error:
        end = end_process if processes.world_size() > 1 else sys.exit
        end(f"{type(error).__name__}: {error}")
    except RunInterrupted as reason:
        if processes.is_main():
            sys.stderr.write(f"{reason}\n")
        processes.shut_down()
        sys.exit(EXIT_STATUS)
    except KeyboardInterrupt:  # of commands that have nothing to save
        end_process("Stopped by Ctrl-C.", 128 + signal.SIGINT)
    except FloatingPointError as error:  # all processes have the same
        is_main = processes.is_main()
        processes.shut_down()
        sys.exit(f"{type(error).__name__}: {error}" if is_main else 1)
    except (CheckpointError, ValueError, OSError, ImportError) as error:
        said = as_called(str(error))
        if isinstance(error, UnicodeEncodeError):
            said = f"expected names of files that can be written, got {error.object!r}."
        advice = _advice_on_letters(said)
        if not is_sentence(error) and not (advice and isinstance(error, UnicodeEncodeError)):
            raise
        sys.exit(f"{type(error).__name__}: {said}{advice}")
    processes.shut_down()


def _advice_on_letters(text: str) -> str:
    """Say what to do if no file can have a name with the letters of a text, else nothing."""
    encoding = sys.getfilesystemencoding()
    try:
        "".join(filter(str.isalpha, text)).encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return (
            f" Names of files are in the encoding {encoding!r} here (LC_ALL, LANG), which lacks "
            "some of these letters: start the command with PYTHONUTF8=1."
        )
    return ""
