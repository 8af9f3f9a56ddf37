"""Where the console scripts begin: outside of `mmseg`, a name that other programs have, too."""

import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run a command, or say that the package `mmseg` is not that of this program."""
    found = find_spec("mmseg")
    file = found.origin if found else None
    if file is None or "cdda-seg" not in Path(file).read_text(encoding="utf-8"):
        sys.exit(
            "ImportError: expected the package mmseg of cdda-seg, got "
            f"{f'{file!r} of another program' if file else 'none that is whole'}. mmsegmentation "
            "has a package of that name: take its folder off PYTHONPATH; if both are installed, "
            "uninstall both (pip uninstall cdda-seg mmsegmentation) and install cdda-seg again, or "
            "use an environment for each."
        )
    try:
        import mmseg  # noqa: F401
    except ImportError as error:
        sys.exit(f"ImportError: {error}")
    from mmseg.cli import console

    console.main()
