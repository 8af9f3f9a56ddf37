"""Run a command that waits at a chosen moment, so that it can be struck in the middle of it.

python struck_command.py MODULE:FUNCTION NUMBER MARK SCRIPT ARGUMENTS...

After call NUMBER of the function, counted over the command and its forked workers, the file MARK
appears, and whoever is or comes there waits until it is gone. With `-` for the function, the
command is left alone.
"""

import importlib
import multiprocessing
import runpy
import sys
import time
from functools import reduce
from pathlib import Path
from typing import Any

import torch

NOWHERE = "-"


def hold_after(where: str, number: int, mark: Path) -> None:
    """Let everybody wait after call `number` of a function while `mark` is there."""
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner: Any = reduce(getattr, owners, importlib.import_module(module))
    function, calls = getattr(owner, name), multiprocessing.Value("i", 0)

    def held(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        with calls.get_lock():
            calls.value += 1
            done = calls.value
            if done == number:
                mark.touch()
        while done >= number and mark.exists():
            time.sleep(0.001)
        return result

    setattr(owner, name, held)


def main() -> None:
    """Change the function, and become the command."""
    _, where, number, mark, *command = sys.argv
    torch.save = torch.serialization.save  # the command server's own takes no options
    if where != NOWHERE:
        hold_after(where, int(number), Path(mark))
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main()
