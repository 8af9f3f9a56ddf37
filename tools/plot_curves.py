"""Draw losses and mIoU of runs to their `curves.png`.

python tools/plot_curves.py work_dirs/local-basic/RUN [RUN_DIR …]
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command  # noqa: E402
from mmseg.system.options import option  # noqa: E402
from mmseg.system.outputs import check_output_file, is_picture  # noqa: E402
from mmseg.visualization.curves import plot_curves  # noqa: E402


@dataclass(frozen=True)
class Options:
    """The choices of the command line."""

    run_dirs: list[str] = option(help="work folders", positional=True, metavar="RUN_DIR")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    for run_dir in options.run_dirs:
        check_output_file(Path(run_dir, "curves.png"), [], is_own=is_picture)
    for run_dir in options.run_dirs:
        print(plot_curves(run_dir))


if __name__ == "__main__":
    main()
