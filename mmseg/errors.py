"""Which errors are sentences for the user, and which are mistakes of the program."""

import pickle
import struct
from pathlib import Path

from mmseg.registry import ConfigError

PACKAGE = Path(__file__).resolve().parent
# What torch.load raises for a file that is cut off or corrupt: a pickle is a program, and one with
# a wrong byte does anything but what it should.
CUT_OFF = (
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    struct.error,
)
UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, *CUT_OFF)


def is_for_user(error: BaseException) -> bool:
    """Tell whether the message of an error says what to do, so that nobody needs a traceback.

    That is so for errors of files and of configs, and for every ValueError or ImportError that
    this package raises itself. One that comes out of a library is a mistake of the program.
    """
    if isinstance(error, ConfigError | OSError):
        return True
    return isinstance(error, ValueError | ImportError) and _is_raised_here(error)


def reason_unreadable(error: BaseException) -> str:
    """Say in a few words why torch.load refused a file."""
    if isinstance(error, CUT_OFF) or not str(error).strip():
        return "it is cut off, or torch.save did not write it"
    # torch puts its advice around the sentence that says what is wrong.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return text.splitlines()[0].strip().partition(". ")[0]


def _is_raised_here(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(PACKAGE)
