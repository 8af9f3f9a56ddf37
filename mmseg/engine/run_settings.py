"""What the training loop reads from a config, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmseg.config.registry import check_keys, origin
from mmseg.engine.precision import PrecisionSettings, read_precision
from mmseg.system import processes
from mmseg.system.errors import ConfigError, nearest

RUNNER = ("type", "max_iters")
# Keys that the family's configs carry; only the named ones below have an effect.
CHECKPOINT = ("interval", "resume_interval", "max_keep_ckpts", "by_epoch", "save_optimizer")
CHECKPOINT += ("save_last", "meta", "create_symlink", "out_dir", "type")
EVALUATION = ("interval", "metric", "by_epoch", "save_best", "rule", "start", "type", "priority")
EVALUATION += ("efficient_test", "pre_eval", "gpu_collect", "tmpdir", "logger")
OPTIMIZER_CONFIG = ("type", "grad_clip", "cumulative_iters", "loss_scale")
OPTIMIZER_CONFIG += ("detect_anomalous_params", "coalesce", "bucket_size_mb", "distributed")
# The other keys already say how these differ; 'Fp16' in the name asks for float16.
OPTIMIZER_HOOKS = ("OptimizerHook", "Fp16OptimizerHook", "GradientCumulativeOptimizerHook")
OPTIMIZER_HOOKS += ("GradientCumulativeFp16OptimizerHook",)
GRAD_CLIP = ("max_norm", "norm_type")
RESUME_INTERVAL = 1000


@dataclass(frozen=True)
class LoopSettings:
    """Intervals are in iterations; 0 means only after the last one."""

    max_iters: int
    seed: int
    log_interval: int = 50
    checkpoint_interval: int = 0
    resume_interval: int = RESUME_INTERVAL  # of latest.pth alone; 0 writes it with iter_N.pth only
    max_keep_checkpoints: int = -1
    evaluation_interval: int = 0
    metric: str | list[str] = "mIoU"
    grad_clip: Mapping[str, Any] | None = None
    cumulative_iters: int = 1  # iterations whose gradients make one step
    samples_per_gpu: int = 1
    precision: PrecisionSettings = field(default_factory=PrecisionSettings)


def read_settings(cfg: Mapping[str, Any], seed: int) -> LoopSettings:
    """Read what the loop needs: lengths, intervals, `optimizer_config`, precision, batch size.

    `ConfigError` for an unknown key or a value out of range.
    """
    checkpoint = _section(cfg, "checkpoint_config", CHECKPOINT)
    evaluation = _section(cfg, "evaluation", EVALUATION)
    optimizer_config = _section(cfg, "optimizer_config", OPTIMIZER_CONFIG)
    _check_hook(optimizer_config)
    log_config = cfg.get("log_config") or {}
    resume = checkpoint.get("resume_interval")
    if resume != 0:
        resume = _positive(checkpoint, "checkpoint_config", "resume_interval", RESUME_INTERVAL)
    return LoopSettings(
        max_iters=max_iterations(cfg),
        seed=seed,
        log_interval=_positive(log_config, "log_config", "interval", 50),
        checkpoint_interval=_positive(checkpoint, "checkpoint_config", "interval", 0),
        resume_interval=resume,
        max_keep_checkpoints=checkpoint.get("max_keep_ckpts", -1),
        evaluation_interval=_positive(evaluation, "evaluation", "interval", 0),
        metric=evaluation.get("metric", "mIoU"),
        grad_clip=_grad_clip(optimizer_config),
        cumulative_iters=_positive(optimizer_config, "optimizer_config", "cumulative_iters", 1),
        samples_per_gpu=samples_per_gpu(cfg),
        precision=read_precision(cfg),
    )


def samples_per_gpu(cfg: Mapping[str, Any]) -> int:
    """Return `data.samples_per_gpu`."""
    return (cfg.get("data") or {}).get("samples_per_gpu", 1)


def uses_sync_bn(cfg: Mapping[str, Any]) -> bool:
    """Return `sync_bn`: whether batch norm takes its statistics over all processes."""
    value = cfg.get("sync_bn", False)
    if not isinstance(value, bool):
        raise ConfigError(f"{origin(cfg, 'sync_bn')}expected sync_bn=True or False, got {value!r}.")
    return value


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
    return _positive(runner, "runner", "max_iters", 0)


def batch_size_warning(cfg: Mapping[str, Any]) -> str | None:
    """Return a warning if the run has another number of processes than `n_gpus`, else None."""
    planned, found = cfg.get("n_gpus"), processes.world_size()
    if planned is None or planned == found:
        return None
    samples = samples_per_gpu(cfg)
    return (
        f"The config is for n_gpus={planned}, but {found} process(es) run: a batch is "
        f"{found} x {samples} = {found * samples} images of each domain instead of "
        f"{planned * samples}. Learning rate and max_iters stay as in the config."
    )


def _section(cfg: Mapping[str, Any], name: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a section of the config with its keys checked; empty if it is missing."""
    section = cfg.get(name) or {}
    check_keys(section, known, name)
    if section.get("by_epoch"):
        raise ConfigError(
            f"{origin(section, 'by_epoch')}{name}.by_epoch: expected False, got True; runs are "
            "counted in iterations."
        )
    return section


def _check_hook(section: Mapping[str, Any]) -> None:
    kind = section.get("type", OPTIMIZER_HOOKS[0])
    if kind not in OPTIMIZER_HOOKS:
        raise ConfigError(
            f"{origin(section, 'type')}unknown optimizer_config.type {kind!r}"
            f"{nearest(kind, OPTIMIZER_HOOKS)}"
        )
    if "loss_scale" in section and "Fp16" not in kind:
        raise ConfigError(
            f"{origin(section, 'loss_scale')}expected optimizer_config.loss_scale with "
            f"type='Fp16OptimizerHook' only, got type={kind!r}; set fp16=dict(loss_scale=…)."
        )


def _grad_clip(section: Mapping[str, Any]) -> Mapping[str, Any] | None:
    clip = section.get("grad_clip")
    if not clip:
        return None
    check_keys(clip, GRAD_CLIP, "optimizer_config.grad_clip")
    norm = clip.get("max_norm")
    if isinstance(norm, bool) or not isinstance(norm, int | float) or norm <= 0:
        raise ConfigError(
            f"{origin(clip, 'max_norm')}optimizer_config.grad_clip: expected max_norm=… above 0, "
            f"got {norm!r}; set grad_clip=None to train without clipping."
        )
    return clip


def _positive(section: Mapping[str, Any], name: str, key: str, default: int) -> int:
    """Return a whole number above 0 from the section `name`."""
    value = section.get(key, default)
    if key in section and (not isinstance(value, int) or value < 1):
        raise ConfigError(
            f"{origin(section, key)}{name}.{key}: expected a whole number above 0, got {value!r}."
        )
    return value
