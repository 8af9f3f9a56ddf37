"""Train a config, or all configs of an experiment, each under a new name.

python run_experiments.py --config configs/cdda/gta2cs_cdda_daformer
python run_experiments.py --exp 80
"""

import argparse

from mmseg.cli.endings import user_errors
from mmseg.cli.run_options import add_run_options
from mmseg.cli.training import experiment_command


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--config", help="path of the config, with or without .py")
    choice.add_argument("--exp", type=int, help="id of an experiment, see experiments.py")
    parser.add_argument(
        "--startup-test", action="store_true", help="two iterations, to see whether it runs"
    )
    add_run_options(parser)
    with user_errors():
        experiment_command(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
