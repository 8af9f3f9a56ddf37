"""What a run reads from a config, apart from what is built by `type`.

`read_run` reads every section once; below it nobody reads a config.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from mmseg.config.checking import key, origin, read_section
from mmseg.config.language import Config, python_text, unwrap
from mmseg.config.language.known_keys import inert_notice
from mmseg.config.sections import (
    AmpConfig,
    CheckpointConfig,
    CompileConfig,
    DataConfig,
    EvaluationConfig,
    Fp16Config,
    LoggingConfig,
    PrecisionConfig,
    RunnerConfig,
    ScalerConfig,
    ScheduleConfig,
    UpdateConfig,
)
from mmseg.config.values import Count, Positive, Section, Seed, Text
from mmseg.system.errors import ConfigError
from mmseg.system.shipped import find
from mmseg.system.waiting import MAX_WAIT

# They name a run or say where it continues, not what it computes.
NOT_HASHED = ("work_dir", "resume_from", "name", "git_rev", "max_wait")
NO_KEY = {"key": None}  # metadata of a field that no key of the config sets
FAMILY_SCALE = 512.0  # for configs with fp16=dict() alone


@dataclass(frozen=True, kw_only=True)
class ConfigParts:
    """What every command uses of a config. The sections that `type` builds stay as they are."""

    IS_OPEN: ClassVar[bool] = True  # a config may have variables of its own

    name: Text | None = None
    experiment: Text | int | None = key("exp", None)
    model: Section = field(default_factory=dict)
    uda: Section | None = None
    data: DataConfig = DataConfig()
    train_cfg: Section | None = None
    test_cfg: Section | None = None
    max_wait: Positive = MAX_WAIT  # seconds: longer than that nothing waits for anything


@dataclass(frozen=True, kw_only=True)
class RunConfig(ConfigParts):
    """All of a config that a run uses."""

    runner: RunnerConfig
    optimizer: Section = field(default_factory=dict)
    schedule: ScheduleConfig = key("lr_config", ScheduleConfig("fixed"))
    updates: UpdateConfig = key("optimizer_config", UpdateConfig())
    fp16: Fp16Config | None = None
    amp: AmpConfig | None = None
    tf32: bool | None = None  # round float32 to TF32; None: as torch does, for convolutions alone
    compilation: CompileConfig | None = key("compile", None)
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoints: CheckpointConfig = key("checkpoint_config", CheckpointConfig())
    logging: LoggingConfig = key("log_config", LoggingConfig())
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    seed: Seed | None = None
    load_from: Text | None = None
    resume_from: Text | None = None
    work_dir: Text | None = None
    num_processes: Count | None = key("n_gpus", None)
    sync_bn: bool = False
    tunes_convolutions: bool = key("cudnn_benchmark", False)

    precision: PrecisionConfig = field(default=PrecisionConfig(), metadata=NO_KEY)
    # level and text of a line of the log about keys without effect
    notice: tuple[int, str] | None = field(default=None, metadata=NO_KEY)
    text: str = field(default="", metadata=NO_KEY)  # the whole config as a Python file
    sha256: str = field(default="", metadata=NO_KEY)  # see `config_hash`


def read_run(cfg: Section) -> RunConfig:
    """Read a whole config; `ConfigError` for an unknown key or a value that does not fit.

    Sections that `type` builds are only required to be dictionaries.
    """
    cfg = cfg if isinstance(cfg, Config) else Config(cfg)  # which names its sections in errors
    run = read_section(RunConfig, cfg)
    start = run.load_from and str(find(run.load_from))
    _check_schedule(cfg.get("lr_config") or {}, run.schedule)
    _check_precision(cfg, run)
    identity = {"text": python_text(unwrap(cfg)), "sha256": config_hash(cfg)}
    notice = inert_notice(cfg, run.runner.max_iters)
    precision = _precision(run)
    return replace(run, precision=precision, load_from=start, notice=notice, **identity)


def read_parts(cfg: Section) -> ConfigParts:
    """Read what every command uses of a config, which may have nothing else of a run."""
    return read_section(ConfigParts, cfg)


def config_hash(cfg: Section) -> str:
    """Hash the values of a config, whatever their order and formatting, without `NOT_HASHED`.

    >>> config_hash({"a": (1, 2), "b": 3}) == config_hash({"b": 3, "work_dir": "x", "a": [1, 2]})
    True
    """
    values = {key: value for key, value in cfg.items() if key not in NOT_HASHED}
    return hashlib.sha256(json.dumps(_ordered(values), default=str).encode()).hexdigest()


def _check_schedule(cfg: Section, schedule: ScheduleConfig) -> None:
    """Raise for keys that would have no effect."""
    for name in ("power", "min_lr") if schedule.policy != "poly" else ():
        if name in cfg:
            raise ConfigError(
                f"{origin(cfg, name)}lr_config.{name}: expected it with policy='poly' only, got "
                f"policy={schedule.policy!r}. Change the policy, or remove the key."
            )
    if schedule.warmup and schedule.policy == "warmup_linear":
        raise ConfigError(
            f"{origin(cfg, 'warmup')}lr_config.warmup: expected none with policy='warmup_linear', "
            f"which has its own, got {schedule.warmup!r}. Remove it, or change the policy."
        )
    if schedule.warms_up and not schedule.warmup_iters:
        advice = "Set it, or warmup=None." if schedule.warmup else "Set it, or policy='poly'."
        raise ConfigError(
            f"{origin(cfg, 'warmup')}lr_config.warmup_iters: expected how many iterations the "
            f"warm-up takes, got 0. {advice}"
        )


def _check_precision(cfg: Section, run: RunConfig) -> None:
    """Raise for sections about half precision that contradict each other."""
    if run.amp is not None and (run.fp16 is not None or run.updates.is_float16):
        raise ConfigError(
            f"{origin(cfg, 'amp')}expected fp16 or amp, got both. Remove one of them."
        )
    if run.updates.loss_scale is not None and not run.updates.is_float16:
        hook = cfg["optimizer_config"]
        raise ConfigError(
            f"{origin(hook, 'loss_scale')}expected optimizer_config.loss_scale with "
            f"type='Fp16OptimizerHook' only, got type={run.updates.type!r}. Set "
            "fp16=dict(loss_scale=…)."
        )
    if run.amp is not None and run.amp.dtype != "float16" and run.amp.loss_scale is not None:
        raise ConfigError(
            f"{origin(cfg['amp'], 'loss_scale')}expected amp.loss_scale with dtype='float16' only, "
            f"got dtype={run.amp.dtype!r}, which needs no scale. Remove it."
        )


def _precision(run: RunConfig) -> PrecisionConfig:
    """Read what `fp16`, its older place `optimizer_config`, or `amp` ask for."""
    if run.amp is not None:
        if run.amp.dtype != "float16":
            return PrecisionConfig(run.amp.dtype)
        return _float16(run.amp.loss_scale or "dynamic")
    if run.fp16 is None and not run.updates.is_float16:
        return PrecisionConfig()
    scale = run.fp16 and run.fp16.loss_scale
    return _float16(scale or run.updates.loss_scale or FAMILY_SCALE)


def _float16(scale: Any) -> PrecisionConfig:
    """Read a loss scale as the family writes it: 'dynamic', a number, or the scaler's arguments."""
    if isinstance(scale, Mapping):
        used = {k: v for k, v in scale.items() if k not in ScalerConfig.INERT}
        return PrecisionConfig("float16", scaler=used)
    return PrecisionConfig("float16", None if scale == "dynamic" else float(scale))


def _ordered(value: Any) -> Any:
    """Return nested values whose JSON does not depend on the order of keys."""
    if isinstance(value, Mapping):
        return {str(key): _ordered(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value
