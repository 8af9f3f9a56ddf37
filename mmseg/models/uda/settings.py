"""The keys of a config's `uda` section."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from mmseg.config.checking import checked
from mmseg.config.registry import MASK_GENERATORS
from mmseg.config.values import Index, Indices, NonNegative, Positive, Section, Share, Text
from mmseg.system.errors import ConfigError

SAME = "same"  # as the first teacher's
# Which images are masked, and the suffix for augmenting them first.
SOURCE, TARGET, AUGMENTED = "separatesrc", "separatetrg", "aug"
MaskMode = Literal[
    "separate", "separateaug", "separatesrc", "separatesrcaug", "separatetrg", "separatetrgaug"
]
Similarity = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True)
class SelfTrainingSettings:
    """The keys of `uda` about teachers, strong augmentation and masked images."""

    alpha: Share = 0.99
    pseudo_threshold: Share = 0.968
    pseudo_weight_ignore_top: Index = 0
    pseudo_weight_ignore_bottom: Index = 0
    blur: bool = True
    color_jitter_strength: Share = 0.2
    color_jitter_probability: Share = 0.2
    mask_mode: MaskMode | None = None
    mask_alpha: Literal["same"] | Share = SAME
    mask_pseudo_threshold: Literal["same"] | Share | None = SAME  # None: full trust
    mask_lambda: NonNegative = 0
    mask_generator: Annotated[Section, MASK_GENERATORS.checked] | None = None

    def __post_init__(self) -> None:
        if self.mask_mode is not None and self.mask_generator is None:
            raise ConfigError(
                f"uda.mask_mode={self.mask_mode!r} needs uda.mask_generator, which is not set. Set "
                "it, e.g. to dict(type='block', mask_ratio=0.7, mask_block_size=64)."
            )

    @property
    def has_second_teacher(self) -> bool:
        """Whether masked images have their own teacher."""
        return self.mask_alpha != SAME or self.mask_pseudo_threshold != SAME

    @property
    def second_teacher(self) -> tuple[Any, Any]:
        """Its α and threshold (None trusts all pixels); 'same' takes the first teacher's value."""
        alpha, threshold = self.mask_alpha, self.mask_pseudo_threshold
        alpha = self.alpha if alpha == SAME else alpha
        return alpha, self.pseudo_threshold if threshold == SAME else threshold


@dataclass(frozen=True)
class DACSSettings(SelfTrainingSettings):
    """The keys of `uda` in a config with `type='DACS'`."""

    source_only: bool = False
    imnet_feature_dist_lambda: NonNegative = 0
    imnet_feature_dist_classes: Indices | None = None
    imnet_feature_dist_scale_min_ratio: Share | None = None
    mix: Literal["class"] = "class"
    dataset: Text | None = None
    matrix_path: Text | None = None
    croped_images_path: Text | None = None
    croped_labels_path: Text | None = None
    reweight_threshold: Similarity | None = None
    relabel_threshold: Similarity | None = None
    threshold_decay: Share = 0.0
    reference_quirks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        source_modes = (SOURCE, SOURCE + AUGMENTED)
        if self.source_only and self.mask_mode not in (None, *source_modes):
            raise ConfigError(
                f"expected uda.mask_mode to be one of {', '.join(source_modes)} with "
                f"uda.source_only=True, where nothing labels the target, got {self.mask_mode!r}. "
                "Change one of them."
            )
        paths = ("dataset", "croped_images_path", "croped_labels_path")
        needed = (*paths, "reweight_threshold", "relabel_threshold")
        missing = [key for key in needed if getattr(self, key) is None]
        if self.matrix_path is not None and missing:
            raise ConfigError(
                f"expected uda.{missing[0]} with uda.matrix_path, which turns on CDDA, got none. "
                "Set it, or matrix_path to None."
            )

    @property
    def uses_depth(self) -> bool:
        """Whether this is CDDA."""
        return self.matrix_path is not None and not self.source_only


@dataclass(frozen=True)
class OutputWeights:
    """The weights of the losses of a network's outputs."""

    main: NonNegative = 0.001  # of the decode head
    aux: NonNegative = 0.0002  # of the auxiliary head


Weights = Annotated[Section, checked(OutputWeights, "weights of outputs")]


@dataclass(frozen=True)
class MinEntSettings(SelfTrainingSettings):
    """The keys of `uda` in a config with `type='MinEnt'`."""

    lambda_ent: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class AdvSegSettings(SelfTrainingSettings):
    """The keys of `uda` in a config with `type='AdvSeg'`."""

    discriminator_type: Literal["LS", "Vanilla"] = "LS"  # squared error, or cross-entropy
    lr_D: Positive = 1e-4
    lr_D_power: NonNegative = 0.9
    lr_D_min: NonNegative = 0.0
    lambda_adv_target: Weights = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr_D_min > self.lr_D:
            raise ConfigError(
                f"expected uda.lr_D_min to be at most uda.lr_D, {self.lr_D}, from which the rate "
                f"falls, got {self.lr_D_min}. Change one of them."
            )
