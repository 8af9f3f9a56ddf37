"""Print what differs between two configs, with everything that they inherit.

python tools/diff_config.py configs/demo/daformer configs/demo/cdda_daformer

`- key = value` is in the first only, `+ key = value` in the second only; a changed value has both
lines. The exit status is 0 for equal configs and 1 for others.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.config import load_config, parse_options  # noqa: E402
from mmseg.config.listing import differences  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("first", help="path of a config, with or without .py")
    parser.add_argument("second", help="path of another config")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="changes of both configs",
    )
    options = parser.parse_args(arguments)
    lines: list[str] = []
    with user_errors():
        first, second = load_config(options.first), load_config(options.second)
        for cfg in (first, second):
            cfg.merge_options(parse_options(options.cfg_options))
        lines = list(differences(first, second))
        print("\n".join(lines) if lines else f"{options.first} and {options.second} are equal.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
