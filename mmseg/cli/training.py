"""What `run_experiments.py` and `tools/train.py` start."""

import argparse
from pathlib import Path

from mmseg.apis.run_names import child_of_experiment, child_of_file
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import load_config, parse_options
from mmseg.system import processes
from mmseg.system.safe_loading import trusting_files


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
    processes.init_from_environment(arguments.launcher, arguments.local_rank)
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
