"""Options that several commands have."""

import argparse

from mmseg.system.launchers import LAUNCHERS
from mmseg.system.safe_loading import OPT_IN


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every training command has."""
    default = "the config's, else the resumed run's, else a random one, which the log states"
    parser.add_argument(
        "--seed", type=int, help=f"of samples, draws and initial weights; default: {default}"
    )
    parser.add_argument("--deterministic", action="store_true", help="repeat a run bit by bit")
    parser.add_argument("--no-validate", action="store_true", help="train without evaluation")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="for example seed=1"
    )
    add_trust_option(parser)
    parser.add_argument("--launcher", default="none", choices=LAUNCHERS)
    # torch.distributed.launch passes it in addition to the variable LOCAL_RANK.
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of every command that loads checkpoints, banks or pretrained weights."""
    parser.add_argument(
        OPT_IN,
        action="store_true",
        help="unpickle files that could run any program; only for files that you trust",
    )
