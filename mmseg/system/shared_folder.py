"""Notice that another program has put its package `mmseg` into the folder of this one."""

from pathlib import Path

OTHERS = "*mmsegmentation-*.dist-info/RECORD"  # what pip has installed, as it notes
FILE = "mmseg/__init__.py,"


def refuse_shared_folder(package: Path) -> None:
    """Raise `ImportError` if files of mmsegmentation lie among those of `package`.

    In a folder of its own it does no harm: Python imports one of both.
    """
    for record in package.parent.glob(OTHERS):
        if any(line.startswith(FILE) for line in record.read_text(errors="replace").splitlines()):
            raise ImportError(
                f"expected '{package}' to hold files of cdda-seg alone, got some of "
                f"{record.parent.stem}, too: both programs call their package mmseg. Uninstall "
                "both (pip uninstall cdda-seg mmsegmentation) and install cdda-seg again, or use "
                "an environment for each."
            )
