"""What `run_experiments.py` and `tools/train.py` start."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmseg.apis.run_names import child_of_experiment, child_of_file
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import load_config
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.options import CfgOptions, ConfigOptions, option
from mmseg.system.safe_loading import trusting_files

OF_ONE_RUN = ("work_dir", "name", "exp")


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainOptions, CfgOptions):
    """What both commands have."""

    load_from: str | None = option(None, "checkpoint whose weights are the first ones")

    def changes(self) -> dict[str, Any]:
        """Return the values of the config that the command line changes."""
        changes = dict(self.cfg_options)
        return changes if self.load_from is None else {**changes, "load_from": self.load_from}


@dataclass(frozen=True, kw_only=True)
class ConfigRunOptions(RunOptions, ConfigOptions):
    """The choices of `tools/train.py`."""


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions(RunOptions):
    """The choices of `run_experiments.py`."""

    work_dir: str | None = None  # no option: each run has its own
    resume: str | None = None  # no option: each run is a new one
    config: str | None = option(None, "path of the config, with or without .py", one_of="runs")
    exp: int | None = option(None, "id of an experiment, see experiments.py", one_of="runs")
    startup_test: bool = option(False, "two iterations, to see whether it runs")


def train_command(options: ConfigRunOptions) -> None:
    """Train a config."""
    cfg = load_config(options.config)
    cfg.merge_options(options.changes())
    with trusting_files(options.trust_checkpoint):
        run_training(cfg, options)


def experiment_command(options: ExperimentOptions) -> None:
    """Write the child configs of a config or an experiment, and train them one after the other."""
    processes.init_from_environment(options.launcher, options.local_rank)
    options = replace(options, validate=options.validate and not options.startup_test)
    for child in _children(options):
        with trusting_files(options.trust_checkpoint):
            run_training(load_config(child), options)


def _children(options: ExperimentOptions) -> list[Path]:
    """Write one child config per run."""
    changes = options.changes()
    if options.seed is not None:
        changes["seed"] = options.seed
    if options.config is not None:
        return [child_of_file(options.config, changes, options.startup_test)]
    number: Any = options.exp  # one of both is given
    if shared := [f"{key}={changes[key]}" for key in OF_ONE_RUN if key in changes]:
        raise ConfigError(
            f"expected --exp without --cfg-options {' '.join(shared)}, got both: all runs of the "
            "series would share it. Choose it for a single run, with --config."
        )
    from experiments import generate_experiment_cfgs  # a file of the repository

    return [
        child_of_experiment(own, number, changes, options.startup_test)
        for own in generate_experiment_cfgs(number)
    ]
