"""The keys of a config's `uda` section."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from mmseg.config.checking import checked
from mmseg.config.registry import MASK_GENERATORS
from mmseg.config.values import Count, Index, Indices, NonNegative, Positive, Section, Share, Text
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
    # Jitters each image on its own, as VFM-UDA (see `JitteredViews`); the three keys above then
    # have no effect.
    jitter: Literal["torchvision"] | None = None
    teacher_flip: bool = False  # the teacher labels mirrored images, too
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
    def shares_statistics(self) -> bool:
        """Whether the weight of pseudo-labels is that of all processes."""
        return True

    @property
    def first_teacher(self) -> tuple[Any, ...]:
        """The arguments of the teacher, after its network."""
        return self.alpha, self.pseudo_threshold, self.teacher_flip, self.shares_statistics

    @property
    def has_second_teacher(self) -> bool:
        """Whether masked images have their own teacher."""
        return self.mask_alpha != SAME or self.mask_pseudo_threshold != SAME

    @property
    def second_teacher(self) -> tuple[Any, ...]:
        """The same of the second one; 'same' takes the first teacher's value."""
        alpha, threshold = self.mask_alpha, self.mask_pseudo_threshold
        alpha = self.alpha if alpha == SAME else alpha
        threshold = self.pseudo_threshold if threshold == SAME else threshold
        return alpha, threshold, self.teacher_flip, self.shares_statistics


@dataclass(frozen=True)
class VFMDistanceKeys:
    """The keys of `uda.vfm_feature_dist`: the distance to the features of a foundation model."""

    model_name: Text  # as timm calls the ViT, such as 'vit_large_patch14_reg4_dinov2'
    pretrained: Text | None = None  # file of its weights
    size: Count = 406  # pixels of a side that it sees
    weight_source: NonNegative = 0.1  # of the loss on source images
    weight_target: NonNegative = 0.1  # of the loss on target images
    model_kwargs: Section = field(default_factory=dict)  # further arguments of timm's constructor
    allows_random: bool = False  # start runs without `pretrained`, to try what they do


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
    matrix_mmap: bool = False  # map its rows from a file beside it, shared by all processes
    croped_images_path: Text | None = None
    croped_labels_path: Text | None = None
    reweight_threshold: Similarity | None = None
    relabel_threshold: Similarity | None = None
    threshold_decay: Share = 0.0
    reference_quirks: bool = False
    # One pass of the student's backbone over all images of an iteration: fewer kernels, and more
    # memory (see `StudentPasses`).
    joint_passes: bool = False
    strong_source: bool = False  # jitter the source images strongly, not weakly
    vfm_feature_dist: Annotated[Section, checked(VFMDistanceKeys, "vfm_feature_dist")] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        source_modes = (SOURCE, SOURCE + AUGMENTED)
        if self.source_only and self.mask_mode not in (None, *source_modes):
            raise ConfigError(
                f"expected uda.mask_mode to be one of {', '.join(source_modes)} with "
                f"uda.source_only=True, where nothing labels the target, got {self.mask_mode!r}. "
                "Change one of them."
            )
        if self.strong_source and self.jitter is None:
            raise ConfigError(
                "expected uda.jitter='torchvision' with uda.strong_source=True, got none. Set it."
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
    def is_as_vfmuda(self) -> bool:
        """Whether it deviates as the released code of VFM-UDA (V1 and V2 of its differences)."""
        return self.reference_quirks and self.jitter is not None

    @property
    def shares_statistics(self) -> bool:
        """Whether the weight of pseudo-labels, and means of losses, are those of all processes."""
        return not self.is_as_vfmuda

    @property
    def shares_classes(self) -> bool:
        """Whether the classes to paste are chosen from the source images of all processes."""
        return self.jitter is not None and not self.reference_quirks

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
