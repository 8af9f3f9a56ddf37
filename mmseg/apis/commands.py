"""What the commands share: options, and errors that a user can act on."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmseg import distributed
from mmseg.apis.run_names import child_of_experiment, child_of_file
from mmseg.apis.train import TrainOptions, run_training
from mmseg.config import load_config, parse_options
from mmseg.engine.checkpoint import CheckpointError
from mmseg.errors import is_for_user


@contextmanager
def user_errors() -> Iterator[None]:
    """End the command with one sentence instead of a traceback for errors of config and files."""
    try:
        yield
    except (CheckpointError, FloatingPointError, ValueError, OSError, ImportError) as error:
        if not (isinstance(error, CheckpointError | FloatingPointError) or is_for_user(error)):
            raise
        sys.exit(f"{type(error).__name__}: {error}")
    distributed.shut_down()


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every training command has."""
    parser.add_argument("--seed", type=int, help="of samples, draws and initial weights")
    parser.add_argument("--deterministic", action="store_true", help="repeat a run bit by bit")
    parser.add_argument("--no-validate", action="store_true", help="train without evaluation")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="for example seed=1"
    )
    parser.add_argument("--launcher", default="none", choices=distributed.LAUNCHERS)
    # torch.distributed.launch passes it; the environment says the same.
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def train_options(arguments: argparse.Namespace, **changes: object) -> TrainOptions:
    """Turn parsed arguments into options."""
    names = ("work_dir", "seed", "resume", "deterministic", "launcher")
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return TrainOptions(**{**given, "validate": not arguments.no_validate, **changes})


def train_command(arguments: argparse.Namespace) -> None:
    """Train the config `arguments.config`."""
    cfg = load_config(arguments.config)
    cfg.merge_options(parse_options(arguments.cfg_options))
    run_training(cfg, train_options(arguments))


def experiment_command(arguments: argparse.Namespace) -> None:
    """Write the child configs of a config or an experiment, and train them one after the other."""
    distributed.init_from_environment(arguments.launcher)
    options = parse_options(arguments.cfg_options)
    if arguments.seed is not None:
        options["seed"] = arguments.seed
    validates = not (arguments.no_validate or arguments.startup_test)
    for child in _children(arguments, options):
        run_training(load_config(child), train_options(arguments, validate=validates))


def _children(arguments: argparse.Namespace, options: dict[str, object]) -> list[Path]:
    """Write one child config per run."""
    if arguments.exp is None:
        return [child_of_file(arguments.config, options, arguments.startup_test)]
    from experiments import generate_experiment_cfgs  # a file of the repository

    return [
        child_of_experiment(own, arguments.exp, options, arguments.startup_test)
        for own in generate_experiment_cfgs(arguments.exp)
    ]
