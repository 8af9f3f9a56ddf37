"""Draw losses and mIoU of runs to their `curves.png`.

python tools/plot_curves.py work_dirs/local-basic/RUN [RUN_DIR …]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.visualization.curves import plot_curves  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR")
    for run_dir in parser.parse_args(arguments).run_dirs:
        try:
            print(plot_curves(run_dir))
        except (OSError, ValueError) as error:
            sys.exit(f"plot_curves.py: {error}")


if __name__ == "__main__":
    main()
