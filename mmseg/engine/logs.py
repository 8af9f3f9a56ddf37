"""The log of a run: lines for people, lines of JSON for programs."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from mmseg.system import processes

LOGGER = "mmseg"
FILE_ONLY = {"is_for_file_only": True}  # `extra=` of a message that reaches the console otherwise
FORMAT = "%(asctime)s - %(levelname)s - %(message)s"


def get_logger() -> logging.Logger:
    """Return the logger that all messages of the program go through."""
    return logging.getLogger(LOGGER)


def start_logging(file: str | Path | None = None, level: str = "INFO") -> logging.Logger:
    """Send messages to the console and, with a file, to that file as well.

    Processes other than the main one report errors only, on the console.
    """
    stop_logging()
    logger = get_logger()
    is_main = processes.is_main()
    logger.setLevel(level if is_main else "ERROR")
    console = logging.StreamHandler(sys.stdout)
    console.addFilter(lambda message: not hasattr(message, "is_for_file_only"))
    handlers: list[logging.Handler] = [console]
    if file is not None and is_main:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)
    return logger


def stop_logging() -> None:
    """Close the console's and the file's handler."""
    logger = get_logger()
    for handler in list(logger.handlers):
        if type(handler) in (logging.StreamHandler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()


class JsonLines:
    """Appends one JSON object per line to a file; NaN becomes null."""

    def __init__(self, file: str | Path) -> None:
        self.path = Path(file)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
        plain = {
            key: None if isinstance(value, float) and value != value else value
            for key, value in record.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain) + "\n")
