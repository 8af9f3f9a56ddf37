"""What `run_experiments.py` and `tools/train.py` start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mmseg.apis.run_names import child_of_file
from mmseg.apis.series.runs import (
    chosen,
    folder_of,
    folder_of_config,
    runs_of_config,
    runs_of_experiment,
)
from mmseg.apis.series.series import Series, plan_table, run_series
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.cli.command import say
from mmseg.config import load_config
from mmseg.config.values import Seed
from mmseg.engine.fitting import Gigabytes, fit
from mmseg.engine.precision import SHORT_NAMES
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.options import CfgOptions, ConfigOptions, option
from mmseg.system.safe_loading import trusting_files

OF_ONE_RUN = ("work_dir", "name", "exp")
Options = TypeVar("Options", bound="RunOptions")


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainOptions, CfgOptions):
    """What both commands have."""

    load_from: str | None = option(None, "checkpoint whose weights are the first ones")
    amp: str | None = option(
        None, "half precision of training and evaluation (amp.dtype)", choices=tuple(SHORT_NAMES)
    )
    tf32: bool = option(False, "round float32 to TF32, on GPUs since Ampere")
    compile: str | None = option(
        None,
        "compile the networks: minutes at the start, faster steps",
        nargs="?",
        const="default",
        choices=("default", "max"),
    )
    fit: Gigabytes | None = option(
        None,
        "choose half precision and recomputing so that training fits into a GPU, such as 11GB; "
        "crop, batch and method stay",
        metavar="GB",
    )

    def changes(self) -> dict[str, Any]:
        """Return the values of the config that the command line changes."""
        changes = dict(self.cfg_options)
        if self.load_from is not None:
            changes["load_from"] = self.load_from
        if self.amp is not None:
            changes |= {"fp16": None, "amp.dtype": SHORT_NAMES[self.amp]}
        if self.tf32:
            changes["tf32"] = True
        if self.compile is not None:
            changes["compile.mode"] = self.compile
        return changes

    def fitted_to(self: "Options", config: str) -> "Options":
        """Return the options that make a training of `config` fit into the memory of `--fit`."""
        if self.fit is None:
            return self
        cfg = load_config(config)
        cfg.merge_options(self.changes())
        choice = fit(cfg, self.fit)
        cfg_options = {**self.cfg_options, **choice.changes}
        return replace(self, cfg_options=cfg_options, notes=choice.lines)


@dataclass(frozen=True, kw_only=True)
class ConfigRunOptions(RunOptions, ConfigOptions):
    """The choices of `tools/train.py`."""


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions(RunOptions):
    """The choices of `run_experiments.py`."""

    work_dir: str | None = None  # no option: each run has its own
    resume: str | None = option(
        None,
        "of a series. auto, the default: go on with the first unfinished run; none: all anew",
        choices=("auto", "none"),
    )
    config: str | None = option(None, "path of the config, with or without .py", one_of="runs")
    exp: int | None = option(None, "id of an experiment, see experiments.py", one_of="runs")
    seeds: list[Seed] = option(
        default_factory=list, help="a run with each, and their mean and deviation", metavar="SEED"
    )
    only: str | None = option(
        None, "of a series: runs whose name holds this, or fits a pattern", metavar="PATTERN"
    )
    dry_run: bool = option(False, "list the runs with what this machine lacks; start none")
    startup_test: bool = option(False, "two iterations, to see whether it runs")

    def __post_init__(self) -> None:
        """Refuse two ways to say the same."""
        if self.seed is not None and self.seeds:
            raise ConfigError("expected --seed or --seeds, got both. Leave one of them out.")

    @property
    def is_series(self) -> bool:
        """Whether the runs belong together, and the same command goes on with them."""
        return self.exp is not None or bool(self.seeds)


def train_command(options: ConfigRunOptions) -> None:
    """Train a config."""
    cfg, options = load_config(options.config), options.fitted_to(options.config)
    cfg.merge_options(options.changes())
    with trusting_files(options.trust_checkpoint):
        run_training(cfg, options)


def experiment_command(options: ExperimentOptions) -> None:
    """Train a config, or what is unfinished of an experiment or of a config with several seeds."""
    processes.init_from_environment(options.launcher, options.local_rank)
    options = replace(options, validate=options.validate and not options.startup_test)
    options = _fitted(options)
    if not (options.is_series or options.dry_run):
        _refuse_options_of_a_series(options)
        file = child_of_file(options.config or "", _changes(options), options.startup_test)
        with trusting_files(options.trust_checkpoint):
            run_training(load_config(file), options)
        return
    series = series_of(options)
    if not options.dry_run:
        with trusting_files(options.trust_checkpoint):
            run_series(series)
    elif processes.is_main():
        say(plan_table(series))


def _fitted(options: ExperimentOptions) -> ExperimentOptions:
    """Return the options with what `--fit` chooses for the config."""
    if options.config is not None:
        return options.fitted_to(options.config)
    if options.fit is not None:
        raise ConfigError(
            "expected --fit with --config, got --exp, whose configs need different memory. Start "
            "them one by one."
        )
    return options


def series_of(options: ExperimentOptions) -> Series:
    """Return the runs that the options ask for."""
    changes = _changes(options)
    if options.is_series:
        _refuse_shared_values(changes, options)
    if options.config is not None:
        runs = runs_of_config(options.config, changes, options.seeds)
        folder = folder_of_config(options.config, changes)
        file = f"summary_{runs[0].group}.json"  # other configs' runs lie there, too
    else:
        from experiments import generate_experiment_cfgs  # a file beside the command

        number: Any = options.exp  # one of both is given
        seeds = options.seeds if options.seed is None else [options.seed]
        changes.pop("seed", None)
        runs = runs_of_experiment(generate_experiment_cfgs(number), number, changes, seeds)
        folder, file = folder_of(f"exp{number}"), "summary.json"
    return Series(
        chosen(runs, options.only),
        folder,
        options,
        options.startup_test,
        goes_on=options.is_series and options.resume != "none",
        known=runs,
        summary_file=folder / file,
    )


def _changes(options: ExperimentOptions) -> dict[str, Any]:
    """Return the values that the command line changes, with the seed."""
    changes = options.changes()
    return changes if options.seed is None else {**changes, "seed": options.seed}


def _refuse_options_of_a_series(options: ExperimentOptions) -> None:
    """Raise for options that would have no effect on a single run."""
    given = {"--resume": options.resume, "--only": options.only}
    if names := [name for name, value in given.items() if value is not None]:
        raise ConfigError(
            f"expected {' and '.join(names)} with --exp or --seeds, got a single run, which is "
            "always a new one. Continue one with tools/train.py and --resume auto."
        )


def _refuse_shared_values(changes: Mapping[str, Any], options: ExperimentOptions) -> None:
    """Raise for values that tell the runs of a series apart."""
    alone = OF_ONE_RUN if options.exp is not None else ("work_dir",)
    if shared := [f"{key}={changes[key]}" for key in alone if key in changes]:
        way = "--exp" if options.exp is not None else "--seeds"
        raise ConfigError(
            f"expected {way} without --cfg-options {' '.join(shared)}, got both: all runs of the "
            "series would share it. Choose it for a single run, with --config."
        )
    if "seed" in options.cfg_options:
        raise ConfigError(
            "expected the seeds of a series as --seeds, got --cfg-options "
            f"seed={options.cfg_options['seed']}. Use --seeds {options.cfg_options['seed']}."
        )
