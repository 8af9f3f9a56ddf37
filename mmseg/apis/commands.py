"""What the commands share: options, and errors that a user can act on."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from mmseg import distributed
from mmseg.apis.run_folder import is_sentence
from mmseg.apis.run_names import child_of_experiment, child_of_file
from mmseg.apis.train import TrainOptions, run_training
from mmseg.config import load_config, parse_options
from mmseg.engine.checkpoint import CheckpointError
from mmseg.errors import FullMemoryError
from mmseg.interruption import EXIT_STATUS, RunInterrupted
from mmseg.launchers import LAUNCHERS
from mmseg.safe_loading import OPT_IN, trusting_files


@contextmanager
def user_errors() -> Iterator[None]:
    """End the command with one sentence instead of a traceback for errors of config and files."""
    try:
        yield
    except distributed.ProcessGroupError as error:
        _end_alone(f"{type(error).__name__}: {error}")
    except FullMemoryError as error:
        end = _end_alone if distributed.world_size() > 1 else sys.exit
        end(f"{type(error).__name__}: {error}")
    except RunInterrupted as reason:
        if distributed.is_main():
            sys.stderr.write(f"{reason}\n")
        distributed.shut_down()
        sys.exit(EXIT_STATUS)
    except FloatingPointError as error:  # all processes have the same
        is_main = distributed.is_main()
        distributed.shut_down()
        sys.exit(f"{type(error).__name__}: {error}" if is_main else 1)
    except (CheckpointError, ValueError, OSError, ImportError) as error:
        if not is_sentence(error):
            raise
        sys.exit(f"{type(error).__name__}: {error}")
    distributed.shut_down()


def _end_alone(sentence: str) -> NoReturn:
    """End a process that the others do not end with, with status 1.

    Not by `sys.exit`: while Python ends it would wait for the process group and for kernels that
    wait for a lost process, on a GPU forever. So this flushes what matters and goes.
    """
    sys.stderr.write(f"{sentence}\n")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every training command has."""
    parser.add_argument("--seed", type=int, help="of samples, draws and initial weights")
    parser.add_argument("--deterministic", action="store_true", help="repeat a run bit by bit")
    parser.add_argument("--no-validate", action="store_true", help="train without evaluation")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="for example seed=1"
    )
    add_trust_option(parser)
    parser.add_argument("--launcher", default="none", choices=LAUNCHERS)
    # torch.distributed.launch passes it; the environment says the same.
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of every command that loads checkpoints, banks or pretrained weights."""
    parser.add_argument(
        OPT_IN,
        action="store_true",
        help="unpickle files that could run any program; only for files that you trust",
    )


def train_options(arguments: argparse.Namespace, **changes: object) -> TrainOptions:
    """Turn parsed arguments into options."""
    names = ("work_dir", "seed", "resume", "deterministic", "launcher", "local_rank")
    names += ("trust_checkpoint",)
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return TrainOptions(**{**given, "validate": not arguments.no_validate, **changes})


def train_command(arguments: argparse.Namespace) -> None:
    """Train the config `arguments.config`."""
    cfg = load_config(arguments.config)
    cfg.merge_options(parse_options(arguments.cfg_options))
    with trusting_files(arguments.trust_checkpoint):
        run_training(cfg, train_options(arguments))


def experiment_command(arguments: argparse.Namespace) -> None:
    """Write the child configs of a config or an experiment, and train them one after the other."""
    distributed.init_from_environment(arguments.launcher, arguments.local_rank)
    options = parse_options(arguments.cfg_options)
    if arguments.seed is not None:
        options["seed"] = arguments.seed
    validates = not (arguments.no_validate or arguments.startup_test)
    for child in _children(arguments, options):
        with trusting_files(arguments.trust_checkpoint):
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
