"""Print a config with everything that it inherits, or where each of its values was written.

python tools/print_config.py configs/cdda/gta2cs_cdda_daformer --cfg-options seed=1
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.config import load_config, parse_options  # noqa: E402
from mmseg.config.listing import leaves  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", help="path of the config, with or without .py")
    parser.add_argument(
        "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE"
    )
    parser.add_argument(
        "--origin", action="store_true", help="print a line `key = value  # file:line` per value"
    )
    options = parser.parse_args(arguments)
    with user_errors():
        cfg = load_config(options.config)
        cfg.merge_options(parse_options(options.cfg_options))
        if options.origin:
            print("".join(f"{key} = {value!r}  # {at}\n" for key, value, at in leaves(cfg)), end="")
        else:
            print(cfg.pretty_text, end="")


if __name__ == "__main__":
    main()
