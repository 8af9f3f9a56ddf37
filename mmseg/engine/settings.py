"""What the training loop reads from a config, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmseg.registry import ConfigError, check_keys, nearest, origin

RUNNER = ("type", "max_iters")
# Keys that the family's configs carry; only the named ones below have an effect.
CHECKPOINT = ("interval", "max_keep_ckpts", "by_epoch", "save_optimizer", "save_last", "meta")
CHECKPOINT += ("create_symlink", "out_dir", "type")
EVALUATION = ("interval", "metric", "by_epoch", "save_best", "rule", "start", "type", "priority")
EVALUATION += ("efficient_test", "pre_eval", "gpu_collect", "tmpdir", "logger")
OPTIMIZER_CONFIG = ("grad_clip", "type", "detect_anomalous_params")
GRAD_CLIP = ("max_norm", "norm_type")


@dataclass(frozen=True)
class LoopSettings:
    """Intervals are in iterations; 0 means only after the last one."""

    max_iters: int
    seed: int
    log_interval: int = 50
    checkpoint_interval: int = 0
    max_keep_checkpoints: int = -1
    evaluation_interval: int = 0
    metric: str | list[str] = "mIoU"
    grad_clip: Mapping[str, Any] | None = None


def read_settings(cfg: Mapping[str, Any], seed: int) -> LoopSettings:
    """Read `runner`, `checkpoint_config`, `evaluation`, `log_config` and `optimizer_config`.

    Raises:
        ConfigError: for a key that nothing reads, or a value that is not meant.
    """
    checkpoint = _section(cfg, "checkpoint_config", CHECKPOINT)
    evaluation = _section(cfg, "evaluation", EVALUATION)
    optimizer_config = _section(cfg, "optimizer_config", OPTIMIZER_CONFIG)
    log_config = cfg.get("log_config") or {}
    grad_clip = optimizer_config.get("grad_clip")
    if grad_clip:
        check_keys(grad_clip, GRAD_CLIP, "optimizer_config.grad_clip")
    return LoopSettings(
        max_iters=max_iterations(cfg),
        seed=seed,
        log_interval=_interval(log_config, "log_config", 50),
        checkpoint_interval=_interval(checkpoint, "checkpoint_config", 0),
        max_keep_checkpoints=checkpoint.get("max_keep_ckpts", -1),
        evaluation_interval=_interval(evaluation, "evaluation", 0),
        metric=evaluation.get("metric", "mIoU"),
        grad_clip=grad_clip or None,
    )


def max_iterations(cfg: Mapping[str, Any]) -> int:
    """Return `runner.max_iters`."""
    runner = cfg.get("runner")
    if not runner or "max_iters" not in runner:
        raise ConfigError(
            "expected runner=dict(type='IterBasedRunner', max_iters=…) in the config, got "
            f"{runner!r}; set how many iterations to train."
        )
    check_keys(runner, RUNNER, "runner")
    kind = runner.get("type", "IterBasedRunner")
    if kind != "IterBasedRunner":
        hint = nearest(kind, ["IterBasedRunner"])
        raise ConfigError(f"{origin(runner)}unknown runner type {kind!r}{hint}")
    return _positive(runner, "max_iters", "runner")


def _section(cfg: Mapping[str, Any], name: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a section of the config, empty if it is missing, after a look at its keys."""
    section = cfg.get(name) or {}
    check_keys(section, known, name)
    if section.get("by_epoch"):
        raise ConfigError(
            f"{origin(section, 'by_epoch')}{name}.by_epoch: expected False, got True; runs are "
            "counted in iterations."
        )
    return section


def _interval(section: Mapping[str, Any], name: str, default: int) -> int:
    """Return the `interval` of a section."""
    return _positive(section, "interval", name) if "interval" in section else default


def _positive(section: Mapping[str, Any], key: str, name: str) -> int:
    """Return a whole number above 0."""
    value = section[key]
    if not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{origin(section, key)}{name}.{key}: expected a whole number above 0, got {value!r}."
        )
    return value
