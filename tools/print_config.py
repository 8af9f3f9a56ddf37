"""Print a config with everything that it inherits.

python tools/print_config.py configs/cdda/gta2cs_cdda_daformer --cfg-options seed=1
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.config import load_config, parse_options  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", help="path of the config, with or without .py")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    with user_errors():
        cfg = load_config(options.config)
        cfg.merge_options(parse_options(options.cfg_options))
        print(cfg.pretty_text, end="")


if __name__ == "__main__":
    main()
