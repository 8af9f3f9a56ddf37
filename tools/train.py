"""Train the model of a config.

python tools/train.py configs/demo/cdda_daformer --work-dir work_dirs/try --seed 1
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg.cli.endings import user_errors  # noqa: E402
from mmseg.cli.run_options import add_run_options  # noqa: E402
from mmseg.cli.training import train_command  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", help="path of the config, with or without .py")
    parser.add_argument("--work-dir", help="for logs and checkpoints")
    parser.add_argument(
        "--resume",
        metavar="PATH|auto|none",
        help="checkpoint to continue from; auto: the newest complete one of the work folder",
    )
    add_run_options(parser)
    with user_errors():
        train_command(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
