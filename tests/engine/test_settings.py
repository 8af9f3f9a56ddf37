"""What the loop reads from a config, and where its numbers go."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmseg.config import Config
from mmseg.engine.evaluator import has_synthia_source
from mmseg.engine.precision import PrecisionSettings
from mmseg.engine.provenance import git_revision
from mmseg.engine.run_settings import LoopSettings, read_settings, uses_sync_bn
from mmseg.engine.seed import choose_seed, set_random_seed
from mmseg.engine.trackers import build_trackers
from mmseg.system.errors import ConfigError

RUNNER = {"type": "IterBasedRunner", "max_iters": 40}


def test_sections_of_the_family_are_read() -> None:
    cfg = Config(
        {
            "runner": RUNNER,
            "checkpoint_config": {
                "by_epoch": False,
                "interval": 20,
                "resume_interval": 3,
                "max_keep_ckpts": 1,
            },
            "evaluation": {"interval": 10, "metric": ["mIoU", "mDice"]},
            "log_config": {"interval": 5, "img_interval": 7, "hooks": []},
            "optimizer_config": {
                "type": "GradientCumulativeOptimizerHook",
                "cumulative_iters": 6,
                "grad_clip": {"max_norm": 2.0},
            },
            "data": {"samples_per_gpu": 9},
            "fp16": {"loss_scale": "dynamic"},
        }
    )
    assert read_settings(cfg, 8) == LoopSettings(
        max_iters=40,
        seed=8,
        log_interval=5,
        checkpoint_interval=20,
        resume_interval=3,
        max_keep_checkpoints=1,
        evaluation_interval=10,
        metric=["mIoU", "mDice"],
        grad_clip={"max_norm": 2.0},
        cumulative_iters=6,
        samples_per_gpu=9,
        precision=PrecisionSettings("float16"),
    )


def test_a_config_that_says_nothing_saves_every_1000_iterations_and_steps_after_each() -> None:
    settings = read_settings(Config({"runner": RUNNER, "optimizer_config": None}), 0)
    assert settings == LoopSettings(max_iters=40, seed=0)
    assert (settings.resume_interval, settings.cumulative_iters) == (1000, 1)
    assert (settings.grad_clip, settings.precision) == (None, PrecisionSettings())
    off = Config({"runner": RUNNER, "checkpoint_config": {"resume_interval": 0}})
    assert read_settings(off, 0).resume_interval == 0


def test_sync_bn_is_off_unless_asked_for() -> None:
    assert not uses_sync_bn({})
    assert uses_sync_bn({"sync_bn": True})
    with pytest.raises(ConfigError, match="expected sync_bn=True or False, got 'yes'"):
        uses_sync_bn(Config({"sync_bn": "yes"}))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"runner": {"max_iter": 3}}, "expected runner=dict"),
        ({"runner": {**RUNNER, "type": "EpochBasedRunner"}}, "did you mean 'IterBasedRunner'"),
        ({"runner": {**RUNNER, "max_iters": 0}}, "runner.max_iters: expected a whole number above"),
        ({"evaluation": {"intervall": 3}}, "'intervall' in evaluation; did you mean 'interval'"),
        ({"evaluation": {"interval": 1.5}}, "evaluation.interval: expected a whole number"),
        ({"checkpoint_config": {"by_epoch": True}}, "checkpoint_config.by_epoch: expected False"),
        ({"optimizer_config": {"grad_clip": {"norm": 1}}}, "unknown key 'norm'"),
        ({"optimizer_config": {"grad_clip": {"norm_type": 2}}}, "expected max_norm=… above 0, got"),
        (
            {"optimizer_config": {"grad_clip": {"max_norm": -1}}},
            "above 0, got -1; set grad_clip=No",
        ),
        ({"optimizer_config": {"type": "OptimiserHook"}}, "did you mean 'OptimizerHook'"),
        ({"optimizer_config": {"loss_scale": 2.0}}, r"set fp16=dict\(loss_scale=…\)"),
        (
            {"optimizer_config": {"cumulative_iters": 0}},
            "cumulative_iters: expected a whole number",
        ),
        (
            {"checkpoint_config": {"resume_interval": -1}},
            "resume_interval: expected a whole number",
        ),
    ],
)
def test_sections_that_are_not_meant_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(Config({"runner": RUNNER, **section}), 0)


def test_tensorboard_gets_the_numbers_when_a_hook_names_it(tmp_path: Path) -> None:
    hooks = [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook", "by_epoch": False}]
    trackers = build_trackers({"interval": 5, "hooks": hooks}, str(tmp_path), "now")
    for tracker in trackers:
        tracker.track({"mode": "train", "iter": 6, "lr": 0.25, "decode.loss_seg": 1.5})
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tf_logs")).Reload()
    (event,) = events.Scalars("train/decode.loss_seg")
    assert (event.step, event.value) == (6, 1.5)


@pytest.mark.parametrize(
    ("log_config", "message"),
    [
        ({"hooks": [{"type": "TensorbordLoggerHook"}]}, "did you mean 'TensorboardLoggerHook'"),
        ({"hooks": [{"type": "TextLoggerHook", "intervl": 3}]}, "unknown key 'intervl'"),
        ({"img_intervall": 3}, "'img_intervall' in log_config; did you mean 'img_interval'"),
    ],
)
def test_unknown_hooks_and_keys_are_refused(
    tmp_path: Path, log_config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_trackers(log_config, str(tmp_path), "now")


def test_only_synthia_as_source_reports_subsets() -> None:
    source, target = {"type": "SynthiaDataset"}, {"type": "CityscapesDataset"}
    assert has_synthia_source({"data": {"train": {"type": "UDADataset", "source": source}}})
    assert has_synthia_source({"data": {"train": source}})
    assert not has_synthia_source({"data": {"train": {"source": target, "target": source}}})
    assert not has_synthia_source({})


def test_a_seed_repeats_torch_and_numpy() -> None:
    set_random_seed(4)
    first = torch.rand(3)
    set_random_seed(4)
    assert torch.equal(torch.rand(3), first)
    assert choose_seed(6) == 6
    assert 0 <= choose_seed(None) < 2**24


def test_a_folder_without_git_has_no_revision(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
