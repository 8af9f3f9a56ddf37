"""End this process at once, where Python's own way would wait for something."""

import logging
import os
import sys
from typing import NoReturn

LOGGER = "mmseg"
FILE_ONLY = {"is_for_file_only": True}  # `extra=` of a message that is printed elsewhere, too


def end_process(sentence: str, status: int = 1) -> NoReturn:
    """End this process with a last line on the console.

    Not by `sys.exit`: while Python ends, it would wait for the process group, for workers, and for
    kernels that wait for a lost process, on a GPU forever. So this flushes what matters and goes.
    """
    try:
        sys.stderr.write(f"{sentence}\n" if sentence else "")
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:  # also when nobody reads the console anymore
        os._exit(status)


def say_at_the_end(text: str) -> None:
    """Write to the console and to the log file of the run, if there is one."""
    logging.getLogger(LOGGER).error(text, extra=FILE_ONLY)
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
