"""Record the curves of the demo configs anew, and show what changed against the former recording.

It stands beside `curves.py`, whose recordings only a change of the method may touch: run it after
one, and commit what it writes with the reason for every line that it prints.

python tests/helpers/record_curves.py            # all demo configs
python tests/helpers/record_curves.py cdda_mic   # or some
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence

import curves
import numpy as np
from curves import Change, Curve
from machine import machine

from mmseg.system.files import atomic_write

HEADER = ("config", "value", "iteration", "was", "is")
MISSING = "nothing"


def main(arguments: Sequence[str]) -> None:
    """Train, print what changed, and replace the recordings that did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="CONFIG", help=f"of {', '.join(curves.NAMES)}")
    names = parser.parse_args(arguments).names or list(curves.NAMES)
    if unknown := sorted(set(names) - set(curves.NAMES)):
        parser.error(f"expected names of configs/demo/, got {unknown[0]!r}; see --help.")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            print(record(name, curves.train_curve(name, folder)), flush=True)


def record(name: str, curve: Curve) -> str:
    """Write a curve if it differs from the recorded one, and return what to say about it."""
    path = curves.RECORDINGS / f"{name}.json"
    found = curves.changes(curve, curves.recorded(name)) if path.is_file() else None
    if found == []:
        return f"{name}: nothing changed"
    content = {"made_with": f"{machine()}, numpy {np.__version__}", "iterations": curve}
    with atomic_write(path, "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")  # repr: every digit of a float64
    return f"{name}: recorded for the first time" if found is None else _table(name, found)


def _table(name: str, found: list[Change]) -> str:
    rows = [HEADER]
    for change in found:
        old, new = (MISSING if v is None else repr(v) for v in (change.old, change.new))
        rows.append((name, change.term, str(change.iteration), old, new))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
