"""Notice that another program has put its package `mmseg` into the folder of this one."""

import os
import re
from contextlib import suppress
from pathlib import Path

OTHERS = re.compile(r".*mmsegmentation-.*\.dist-info")  # the notes of pip
FILE = "mmseg/__init__.py,"


def refuse_shared_folder(package: Path) -> None:
    """Raise `ImportError` if files of mmsegmentation lie among those of `package`.

    In a folder of its own it does no harm: Python imports one of both.
    """
    names: list[str] = []
    with suppress(OSError), os.scandir(package.parent) as found:  # nobody may look around there
        names = [entry.name for entry in found]
    for name in filter(OTHERS.fullmatch, names):
        record = package.parent / name / "RECORD"
        lines = record.read_text(errors="replace").splitlines() if record.is_file() else []
        if any(line.startswith(FILE) for line in lines):
            raise ImportError(
                f"expected '{package}' to hold files of cdda-seg alone, got some of "
                f"{record.parent.stem}, too: both programs call their package mmseg. Uninstall "
                "both (pip uninstall cdda-seg mmsegmentation) and install cdda-seg again, or use "
                "an environment for each."
            )
