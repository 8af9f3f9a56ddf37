"""Everything that can be said about a config before any data is read."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mmseg.apis.agreement import (
    check_agreement,
    check_feature_distance,
    check_head,
    check_pipelines,
)
from mmseg.apis.dataset_sections import classes_of
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.registry import DATASETS, SEGMENTORS, UDA
from mmseg.config.run_config import ConfigParts, RunConfig, read_parts, read_run
from mmseg.config.sections import each
from mmseg.datasets.joint import plain
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.engine.optimizer import OPTIMIZERS
from mmseg.engine.trackers import TRACKERS
from mmseg.models.builder import with_present_names
from mmseg.system.errors import ConfigError


def check_run(cfg: Config) -> RunConfig:
    """Read a config and check every section that a training builds, without building any.

    `ConfigError` for keys that do not exist, values that do not fit, or values that contradict each
    other.
    """
    run = read_run(cfg)
    run = replace(run, model=with_present_names(run.model))
    SEGMENTORS.check(run.model)
    if run.uda:
        UDA.check(run.uda)
    for section in run.data.sections:
        DATASETS.check(plain(section))
    OPTIMIZERS.check(run.optimizer)
    for hook in run.logging.hooks or ():
        TRACKERS.check(hook)
    check_agreement(run)
    return run


def check_folder(run: RunConfig, options: TrainOptions) -> None:
    """Raise `ConfigError` for a folder with checkpoints that this run would replace.

    A new run, unlike one of an earlier release that goes on, also needs what
    `check_feature_distance` says.
    """
    folder, files = Path(str(run.work_dir)), []
    with suppress(OSError):  # what is wrong with the folder is said when it is made
        files = [file.name for file in CheckpointFolder(folder).files]
    choice = options.resume
    goes_on = files if choice == "auto" else choice != "none" and (choice or run.resume_from)
    if not goes_on:
        check_feature_distance(run)
    if choice is not None or run.resume_from or options.overwrite:
        return
    if files:
        raise ConfigError(
            f"expected a work folder without checkpoints for a new run, got {', '.join(files[:5])} "
            f"of another one in '{folder}'. Continue that run with --resume auto, choose another "
            "--work-dir, or add --overwrite to train anew there."
        )


def check_test(cfg: Config) -> ConfigParts:
    """Read a config and check what a test of a network on `data.test` builds."""
    parts = read_parts(cfg)
    SEGMENTORS.check(with_present_names(parts.model))
    for section in each(parts.data.test) or [{}]:
        DATASETS.check(plain(section))
    data = replace(parts.data, train=None, val=None)
    check_pipelines(data)
    for section, classes in classes_of(data):
        check_head(parts.model.get("decode_head") or {}, section, classes)
    return parts
