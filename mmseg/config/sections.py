"""The sections of a config that no `type` builds, as dataclasses.

A field whose name differs from its key in the config says which key that is. Intervals are in
iterations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mmseg.config.checking import checked, key
from mmseg.config.values import Count, Index, Metric, NonNegative, Positive, Section, Share

RESUME_INTERVAL = 1000
MAX_SAMPLES = 4096  # per process: no device holds more
MAX_WORKERS = 256  # per process of the run: more only fill the memory
Keys = tuple[str, ...]
Metrics = Annotated[Sequence[Metric], Field(min_length=1)]
Sections = Section | Annotated[Sequence[Section], Field(min_length=1)]  # one dataset, or several
NotByEpoch = Literal[False]  # runs are counted in iterations


@dataclass(frozen=True)
class RunnerConfig:
    """How long the run is."""

    max_iters: Count
    type: Literal["IterBasedRunner"] = "IterBasedRunner"


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate; see `mmseg.engine.schedule`."""

    policy: Literal["poly", "fixed", "warmup_linear"]
    power: NonNegative = 1.0
    min_lr: NonNegative = 0.0
    warmup: Literal["linear", "constant", "exp"] | None = None
    warmup_iters: Index = 0
    warmup_ratio: Share = 0.1
    by_epoch: NotByEpoch = False
    warmup_by_epoch: NotByEpoch = False

    @property
    def warms_up(self) -> bool:
        """Whether the rate rises at the start."""
        return self.warmup is not None or self.policy == "warmup_linear"


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
class CompileConfig:
    """Networks compiled by torch.compile; see `mmseg.engine.compilation`."""

    mode: Literal["default", "max"] = "default"


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
    val: Sections | None = None  # of several, the first decides which checkpoint is the best
    test: Sections | None = None
    # images of each domain that a process trains on at once
    samples_per_gpu: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 1
    # processes that read images
    workers: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = key("workers_per_gpu", 0)

    @property
    def sections(self) -> list[Section]:
        """All datasets; those of a list one by one."""
        return [part for section in (self.train, self.val, self.test) for part in each(section)]

    @property
    def sources(self) -> list[Section]:
        """The labeled datasets that are trained on."""
        train = self.train or {}
        return each(train.get("source") or train)

    @property
    def targets(self) -> list[Section]:
        """The unlabeled datasets that are trained on."""
        return each((self.train or {}).get("target"))

    @property
    def source(self) -> Section:
        """The labeled dataset that is trained on, or the first of them."""
        return next(iter(self.sources), {})

    @property
    def target(self) -> Section | None:
        """The unlabeled dataset that is trained on, or the first of them, if there is any."""
        return next(iter(self.targets), None)


def each(section: Sections | None) -> list[Section]:
    """Return the sections of a list of datasets, or the one section, without what is missing."""
    if isinstance(section, list | tuple):
        return list(section)
    return [section] if section else []  # pyright: ignore[reportReturnType]
