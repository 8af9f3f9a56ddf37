"""Print what differs between two configs, with everything that they inherit.

python tools/diff_config.py configs/demo/daformer configs/demo/cdda_daformer

`- key = value` is in the first only, `+ key = value` in the second only; a changed value has both
lines. The exit status is 0 for equal configs and 1 for others.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.config.language.listing import differences  # noqa: E402
from mmseg.system.options import CfgOptions, option  # noqa: E402


@dataclass(frozen=True)
class Options(CfgOptions):
    """The choices of the command line; its values change both configs."""

    first: str = option(help="path of a config, with or without .py", positional=True)
    second: str = option(help="path of another config", positional=True)


@command(Options, __doc__)
def main(options: Options) -> int:
    """Run the command, and return its exit status."""
    first, second = load_config(options.first), load_config(options.second)
    for cfg in (first, second):
        cfg.merge_options(options.cfg_options)
    lines = list(differences(first, second))
    print("\n".join(lines) if lines else f"{options.first} and {options.second} are equal.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
