"""What a run reads from a config, apart from what is built by `type`.

`read_run` reads every section once; below it nobody reads a config. A field whose name differs from
its key in the config says which key that is. Intervals are in iterations.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mmseg.config.checking import checked, key, origin, read_section
from mmseg.config.config_dict import unwrap
from mmseg.config.language import Config, python_text
from mmseg.config.values import Count, Index, NonNegative, Positive, Section, Seed, Share, Text
from mmseg.evaluation.metrics import Metric
from mmseg.system.errors import ConfigError

RESUME_INTERVAL = 1000
# They name a run or say where it continues, not what it computes.
NOT_HASHED = ("work_dir", "resume_from", "name", "git_rev")
NO_KEY = {"key": None}  # metadata of a field that no key of the config sets
FAMILY_SCALE = 512.0  # for configs with fp16=dict() alone
Keys = tuple[str, ...]
Metrics = Annotated[Sequence[Metric], Field(min_length=1)]
NotByEpoch = Literal[False]  # runs are counted in iterations


@dataclass(frozen=True)
class RunnerConfig:
    """How long the run is."""

    max_iters: Count
    type: Literal["IterBasedRunner"] = "IterBasedRunner"


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate; see `mmseg.engine.schedule`."""

    policy: Literal["poly", "fixed"] = "fixed"
    power: NonNegative = 1.0
    min_lr: NonNegative = 0.0
    warmup: Literal["linear", "constant", "exp"] | None = None
    warmup_iters: Index = 0
    warmup_ratio: Share = 0.1
    by_epoch: NotByEpoch = False
    warmup_by_epoch: NotByEpoch = False


@dataclass(frozen=True)
class ClippingConfig:
    """The norm of all gradients is at most `max_norm`."""

    max_norm: Positive
    # The infinite norm is the largest gradient.
    norm_type: Annotated[float, Field(gt=0, allow_inf_nan=True)] = 2.0


@dataclass(frozen=True)
class ScalerConfig:
    """Arguments of torch's gradient scaler."""

    INERT: ClassVar[Keys] = ("mode", "enabled")

    init_scale: Positive = 65536.0
    growth_factor: Annotated[float, Field(gt=1)] = 2.0
    backoff_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    growth_interval: Count = 2000


Scale = Literal["dynamic"] | Positive | Annotated[Section, checked(ScalerConfig, "loss_scale")]


@dataclass(frozen=True)
class Fp16Config:
    """float16, as the family asks for it."""

    loss_scale: Scale | None = None  # None: 512


@dataclass(frozen=True)
class AmpConfig:
    """Half precision of either kind."""

    dtype: Literal["float16", "bfloat16"] = "float16"
    loss_scale: Scale | None = None  # of float16; None: dynamic


@dataclass(frozen=True)
class UpdateConfig:
    """From gradients to a step of the optimizer."""

    INERT: ClassVar[Keys] = (
        "detect_anomalous_params", "coalesce", "bucket_size_mb", "distributed",
    )  # fmt: skip

    # The other keys already say how these differ; 'Fp16' in the name asks for float16.
    type: Literal[
        "OptimizerHook",
        "Fp16OptimizerHook",
        "GradientCumulativeOptimizerHook",
        "GradientCumulativeFp16OptimizerHook",
    ] = "OptimizerHook"
    grad_clip: ClippingConfig | None = None
    cumulative_iters: Count = 1  # iterations whose gradients make one step
    loss_scale: Scale | None = None  # of the hooks with Fp16

    @property
    def is_float16(self) -> bool:
        """Whether the hook asks for float16."""
        return "Fp16" in self.type


@dataclass(frozen=True)
class PrecisionConfig:
    """Half precision as a run uses it; `dtype` None is full precision."""

    dtype: str | None = None
    fixed_scale: float | None = None  # of the loss; with float16, None adapts it to the gradients
    scaler: Mapping[str, Any] = field(default_factory=dict)  # arguments of the gradient scaler


@dataclass(frozen=True)
class CheckpointConfig:
    """Which checkpoints are written; an interval of None means only after the last iteration."""

    INERT: ClassVar[Keys] = (
        "save_optimizer", "save_last", "meta", "create_symlink", "out_dir", "type",
    )  # fmt: skip

    interval: Count | None = None
    resume_interval: Index = RESUME_INTERVAL  # of latest.pth alone; 0: with iter_N.pth only
    max_kept: Annotated[int, Field(ge=-1)] = key("max_keep_ckpts", -1)  # -1: all
    by_epoch: NotByEpoch = False


@dataclass(frozen=True)
class EvaluationConfig:
    """When and how the student is evaluated; None means only after the last iteration."""

    INERT: ClassVar[Keys] = (
        "save_best", "rule", "start", "type", "priority", "efficient_test", "pre_eval",
        "gpu_collect", "tmpdir", "logger",
    )  # fmt: skip

    interval: Count | None = None
    metrics: Metric | Metrics = key("metric", "mIoU")
    by_epoch: NotByEpoch = False


@dataclass(frozen=True)
class LoggingConfig:
    """Where numbers and pictures go, and how often."""

    interval: Count = 50
    picture_interval: Index = key("img_interval", 1000)  # 0: no pictures
    hooks: Sequence[Section] | None = None


@dataclass(frozen=True)
class DataConfig:
    """The datasets, which `type` builds, and how their samples are loaded."""

    train: Section | None = None
    val: Section | None = None
    test: Section | None = None
    samples_per_gpu: Count = 1  # images of each domain that a process trains on at once
    workers: Index = key("workers_per_gpu", 0)  # processes that read images

    @property
    def sections(self) -> list[Section]:
        """All datasets."""
        return [section for section in (self.train, self.val, self.test) if section]

    @property
    def source(self) -> Section:
        """The labeled dataset that is trained on."""
        train = self.train or {}
        return train.get("source") or train

    @property
    def target(self) -> Section | None:
        """The unlabeled dataset that is trained on, if there is one."""
        return (self.train or {}).get("target")


@dataclass(frozen=True)
class RunConfig:
    """All of a config that a run uses. The sections that `type` builds stay as they are."""

    IS_OPEN: ClassVar[bool] = True  # a config may have variables of its own

    runner: RunnerConfig
    model: Section = field(default_factory=dict)
    optimizer: Section = field(default_factory=dict)
    uda: Section | None = None
    data: DataConfig = DataConfig()
    schedule: ScheduleConfig = key("lr_config", ScheduleConfig())
    updates: UpdateConfig = key("optimizer_config", UpdateConfig())
    fp16: Fp16Config | None = None
    amp: AmpConfig | None = None
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
    train_cfg: Section | None = None
    test_cfg: Section | None = None

    precision: PrecisionConfig = field(default=PrecisionConfig(), metadata=NO_KEY)
    text: str = field(default="", metadata=NO_KEY)  # the whole config as a Python file
    sha256: str = field(default="", metadata=NO_KEY)  # see `config_hash`


def read_run(cfg: Section) -> RunConfig:
    """Read a whole config; `ConfigError` for an unknown key or a value that does not fit.

    Sections that `type` builds are only required to be dictionaries.
    """
    cfg = cfg if isinstance(cfg, Config) else Config(cfg)  # which names its sections in errors
    run = read_section(RunConfig, cfg)
    _check_precision(cfg, run)
    identity = {"text": python_text(unwrap(cfg)), "sha256": config_hash(cfg)}
    return replace(run, precision=_precision(run), **identity)


def read_data(cfg: Section) -> DataConfig:
    """Read the section `data` of a config, which may have nothing else of a run."""
    return read_section(DataConfig, cfg.get("data"), "data")


def config_hash(cfg: Section) -> str:
    """Hash the values of a config, whatever their order and formatting, without `NOT_HASHED`.

    >>> config_hash({"a": (1, 2), "b": 3}) == config_hash({"b": 3, "work_dir": "x", "a": [1, 2]})
    True
    """
    values = {key: value for key, value in cfg.items() if key not in NOT_HASHED}
    return hashlib.sha256(json.dumps(_ordered(values), default=str).encode()).hexdigest()


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
