"""What the loop reads from a config, and where its numbers go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmseg.config import Config
from mmseg.config.run_config import RunConfig, read_run
from mmseg.config.sections import (
    CheckpointConfig,
    ClippingConfig,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    PrecisionConfig,
    RunnerConfig,
    ScheduleConfig,
    UpdateConfig,
)
from mmseg.engine.evaluator import has_synthia_source
from mmseg.engine.provenance import git_revision
from mmseg.engine.seed import choose_seed, set_random_seed
from mmseg.engine.trackers import build_trackers
from mmseg.system.errors import ConfigError

RUNNER = {"type": "IterBasedRunner", "max_iters": 40}


def read(**sections: Any) -> RunConfig:
    return read_run(Config({"runner": RUNNER, **sections}))


def test_sections_of_the_family_are_read() -> None:
    run = read(
        checkpoint_config={
            "by_epoch": False,
            "interval": 20,
            "resume_interval": 3,
            "max_keep_ckpts": 1,
        },
        evaluation={"interval": 10, "metric": ["mIoU", "mDice"]},
        log_config={"interval": 5, "img_interval": 7, "hooks": []},
        optimizer_config={
            "type": "GradientCumulativeOptimizerHook",
            "cumulative_iters": 6,
            "grad_clip": {"max_norm": 2.0},
        },
        data={"samples_per_gpu": 9},
        fp16={"loss_scale": "dynamic"},
        lr_config={"policy": "poly", "warmup": "linear", "warmup_iters": 8},
        n_gpus=2,
        seed=4,
    )
    assert run.runner == RunnerConfig(40)
    assert run.checkpoints == CheckpointConfig(20, 3, 1)
    assert run.evaluation == EvaluationConfig(10, ["mIoU", "mDice"])
    assert run.logging == LoggingConfig(5, 7, [])
    hook = "GradientCumulativeOptimizerHook"
    assert run.updates == UpdateConfig(hook, ClippingConfig(2.0), 6)
    assert run.data == DataConfig(samples_per_gpu=9)
    assert run.precision == PrecisionConfig("float16")
    assert run.schedule == ScheduleConfig("poly", warmup="linear", warmup_iters=8)
    assert (run.num_processes, run.seed) == (2, 4)


def test_a_config_that_says_nothing_gets_the_defaults() -> None:
    run = read(optimizer_config=None)
    plain = RunConfig(runner=RunnerConfig(40))
    assert replace(run, text="", sha256="") == plain
    assert (plain.checkpoints.resume_interval, plain.updates.cumulative_iters) == (1000, 1)
    assert (plain.updates.grad_clip, plain.precision) == (None, PrecisionConfig())
    assert read(checkpoint_config={"resume_interval": 0}).checkpoints.resume_interval == 0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"runner": {"max_iter": 3}}, "unknown key 'max_iter' .*; did you mean 'max_iters'"),
        ({"runner": {**RUNNER, "type": "EpochBasedRunner"}}, "Did you mean 'IterBasedRunner'"),
        ({"runner": None}, "runner needs the key 'max_iters'"),
        ({"evaluation": {"intervall": 3}}, "'intervall' in .*; did you mean 'interval'"),
        ({"optimizer_config": {"loss_scale": 2.0}}, r"Set fp16=dict\(loss_scale=…\)"),
    ],
)
def test_sections_that_are_not_meant_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(**section)


def test_tensorboard_gets_the_numbers_when_a_hook_names_it(tmp_path: Path) -> None:
    hooks = [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook", "by_epoch": False}]
    trackers = build_trackers(hooks, str(tmp_path), "now")
    for tracker in trackers:
        tracker.track({"mode": "train", "iter": 6, "lr": 0.25, "decode.loss_seg": 1.5})
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tf_logs")).Reload()
    (event,) = events.Scalars("train/decode.loss_seg")
    assert (event.step, event.value) == (6, 1.5)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"type": "TensorbordLoggerHook"}, "did you mean 'TensorboardLoggerHook'"),
        ({"type": "TextLoggerHook", "intervl": 3}, "unknown key 'intervl'"),
    ],
)
def test_unknown_hooks_and_keys_are_refused(
    tmp_path: Path, hook: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_trackers([hook], str(tmp_path), "now")


def test_only_synthia_as_source_reports_subsets() -> None:
    source, target = {"type": "SynthiaDataset"}, {"type": "CityscapesDataset"}
    assert has_synthia_source(DataConfig({"type": "UDADataset", "source": source}))
    assert has_synthia_source(DataConfig(source))
    assert not has_synthia_source(DataConfig({"source": target, "target": source}))
    assert not has_synthia_source(DataConfig())


def test_a_seed_repeats_torch_and_numpy() -> None:
    set_random_seed(4)
    first = torch.rand(3)
    set_random_seed(4)
    assert torch.equal(torch.rand(3), first)
    assert choose_seed(6) == 6
    assert 0 <= choose_seed(None) < 2**24


def test_a_folder_without_git_has_no_revision(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
