"""Print a config with everything that it inherits, or where each of its values was written.

python tools/print_config.py configs/cdda/gta2cs_cdda_daformer --cfg-options seed=1
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.command import command  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.config.language.listing import leaves  # noqa: E402
from mmseg.system.options import ConfigOptions, option  # noqa: E402


@dataclass(frozen=True)
class Options(ConfigOptions):
    """The choices of the command line."""

    origin: bool = option(False, "print a line `key = value  # file:line` per value")


@command(Options, __doc__)
def main(options: Options) -> None:
    """Run the command."""
    cfg = load_config(options.config)
    cfg.merge_options(options.cfg_options)
    lines = (f"{key} = {value!r}  # {place}\n" for key, value, place in leaves(cfg))
    print("".join(lines) if options.origin else cfg.pretty_text, end="")


if __name__ == "__main__":
    main()
