"""The log of a run, on the console and in a file."""

import logging
import sys
from pathlib import Path

from mmseg.system import processes
from mmseg.system.ending import FILE_ONLY, LOGGER
from mmseg.system.shipped import as_called

__all__ = ["FILE_ONLY", "get_logger", "start_logging", "stop_logging"]

FORMAT = "%(asctime)s - %(levelname)s - %(message)s"


class _Formatter(logging.Formatter):
    """Names commands as they are called here."""

    def format(self, record: logging.LogRecord) -> str:
        return as_called(super().format(record))


def get_logger() -> logging.Logger:
    """Return the logger of all messages of the program."""
    return logging.getLogger(LOGGER)


def start_logging(file: str | Path | None = None, level: str = "INFO") -> logging.Logger:
    """Send messages to the console and, with a file, to that file as well.

    Processes other than the main one report errors only, on the console.
    """
    stop_logging()
    logger, is_main = get_logger(), processes.is_main()
    logger.setLevel(level if is_main else "ERROR")
    console = logging.StreamHandler(sys.stdout)
    console.addFilter(lambda message: not any(hasattr(message, mark) for mark in FILE_ONLY))
    handlers: list[logging.Handler] = [console]
    if file is not None and is_main:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, encoding="utf-8", errors="backslashreplace"))
    for handler in handlers:
        handler.setFormatter(_Formatter(FORMAT))
        logger.addHandler(handler)
    return logger


def stop_logging() -> None:
    """Close the console's and the file's handler."""
    logger = get_logger()
    for handler in list(logger.handlers):
        if type(handler) in (logging.StreamHandler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()
