"""Everything that can be said about a config before any data is read."""

from dataclasses import replace

from mmseg.apis.agreement import check_agreement, check_pipelines
from mmseg.config import Config
from mmseg.config.registry import DATASETS, SEGMENTORS, UDA
from mmseg.config.run_config import RunConfig, read_parts, read_run
from mmseg.config.sections import DataConfig
from mmseg.engine.optimizer import OPTIMIZERS
from mmseg.engine.trackers import TRACKERS
from mmseg.models.builder import with_present_names


def check_run(cfg: Config) -> RunConfig:
    """Read a config and check every section that a training builds, without building any.

    `ConfigError` for keys that do not exist, values that do not fit, or values that contradict each
    other.
    """
    run = read_run(cfg)
    SEGMENTORS.check(with_present_names(run.model))
    if run.uda:
        UDA.check(run.uda)
    for section in run.data.sections:
        DATASETS.check(section)
    OPTIMIZERS.check(run.optimizer)
    for hook in run.logging.hooks or ():
        TRACKERS.check(hook)
    check_agreement(run)
    return run


def check_test(cfg: Config) -> DataConfig:
    """Read a config and check what a test of a network on `data.test` builds."""
    parts = read_parts(cfg)
    SEGMENTORS.check(with_present_names(parts.model))
    DATASETS.check(parts.data.test or {})
    check_pipelines(replace(parts.data, train=None, val=None))
    return parts.data
