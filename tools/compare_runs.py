"""Put runs side by side: IoU per class, curves, what differs in them, and their predictions.

python tools/compare_runs.py work_dirs/local-basic --out comparison

RUN is the work folder of a run, or a folder with such. Runs that differ in the seed alone are one
column: mean ± sample standard deviation. DIR gets compare.html (one file, to open or to send),
compare.md, and the pictures. See docs/comparing.md.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.apis.comparison.compare import Comparison, compare_runs  # noqa: E402
from mmseg.cli.command import command  # noqa: E402
from mmseg.system.options import option  # noqa: E402


@dataclass(frozen=True)
class Options:
    """The choices of the command line."""

    runs: list[str] = option(help="work folders, or folders with such", positional=True)
    out: Path = option(help="folder of the report", metavar="DIR")
    baseline: str | None = option(
        None, "name of a config, to which differences are given", metavar="NAME"
    )
    images: Annotated[int, Field(ge=0)] = option(4, "predictions to show of each config")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    wanted = Comparison(options.runs, options.out, options.baseline, options.images)
    for file in compare_runs(wanted):
        print(file)


if __name__ == "__main__":
    main()
