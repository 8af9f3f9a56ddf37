"""The keys of a config's `uda` section."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmseg.system.errors import ConfigError, nearest

SAME = "same"  # as the first teacher's
# Which images are masked, and the suffix for augmenting them first.
SOURCE, TARGET, BOTH, AUGMENTED = "separatesrc", "separatetrg", "separate", "aug"
MASK_MODES = tuple(mode + end for mode in (BOTH, SOURCE, TARGET) for end in ("", AUGMENTED))


@dataclass(frozen=True)
class SelfTrainingSettings:
    """The keys of `uda` about teachers, strong augmentation and masked images."""

    alpha: float = 0.99
    pseudo_threshold: float = 0.968
    pseudo_weight_ignore_top: int = 0
    pseudo_weight_ignore_bottom: int = 0
    blur: bool = True
    color_jitter_strength: float = 0.2
    color_jitter_probability: float = 0.2
    mask_mode: str | None = None
    mask_alpha: float | str = SAME
    mask_pseudo_threshold: float | str | None = SAME
    mask_lambda: float = 0
    mask_generator: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.mask_mode is not None:
            self._check_masks(self.mask_mode)

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

    def _check_masks(self, mode: str) -> None:
        if mode not in MASK_MODES:
            raise ConfigError(f"unknown uda.mask_mode {mode!r}{nearest(mode, MASK_MODES)}")
        if self.mask_generator is None:
            raise ConfigError(
                f"uda.mask_mode={mode!r} needs uda.mask_generator, which is not set; set it, "
                "e.g. to dict(type='block', mask_ratio=0.7, mask_block_size=64)."
            )
        alpha, threshold = self.mask_alpha, self.mask_pseudo_threshold
        if alpha != SAME and not (is_number(alpha) and 0 <= float(alpha) <= 1):
            raise ConfigError(
                f"expected uda.mask_alpha to be 'same' or a number between 0 and 1, got {alpha!r}; "
                "'same' shares the first teacher."
            )
        if threshold is not None and threshold != SAME and not is_number(threshold):
            raise ConfigError(
                "expected uda.mask_pseudo_threshold to be 'same', a number, or None for full "
                f"trust, got {threshold!r}; 'same' shares the first teacher."
            )
        if not is_number(self.mask_lambda) or self.mask_lambda < 0:
            raise ConfigError(
                f"expected uda.mask_lambda as a weight of at least 0, got {self.mask_lambda!r}; "
                "the papers use 1."
            )


@dataclass(frozen=True)
class DACSSettings(SelfTrainingSettings):
    """The keys of `uda` in a config with `type='DACS'`."""

    source_only: bool = False
    imnet_feature_dist_lambda: float = 0
    imnet_feature_dist_classes: Sequence[int] | None = None
    imnet_feature_dist_scale_min_ratio: float | None = None
    mix: Literal["class"] = "class"
    dataset: str | None = None
    matrix_path: str | None = None
    croped_images_path: str | None = None
    croped_labels_path: str | None = None
    reweight_threshold: float | None = None
    relabel_threshold: float | None = None
    threshold_decay: float = 0.0
    reference_quirks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mix != "class":
            raise ConfigError(f"expected uda.mix='class', got {self.mix!r}.")
        source_modes = (SOURCE, SOURCE + AUGMENTED)
        if self.source_only and self.mask_mode not in (None, *source_modes):
            raise ConfigError(
                f"expected uda.mask_mode to be one of {', '.join(source_modes)} with "
                f"uda.source_only=True, where nothing labels the target, got {self.mask_mode!r}; "
                "change one of them."
            )
        paths = ("dataset", "croped_images_path", "croped_labels_path")
        needed = (*paths, "reweight_threshold", "relabel_threshold")
        missing = [key for key in needed if getattr(self, key) is None]
        if self.matrix_path is not None and missing:
            raise ConfigError(f"uda.matrix_path turns on CDDA, which also needs uda.{missing[0]}.")

    @property
    def uses_depth(self) -> bool:
        """Whether this is CDDA."""
        return self.matrix_path is not None and not self.source_only


def is_number(value: Any) -> bool:
    """Tell whether a config's value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
