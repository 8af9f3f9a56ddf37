"""The keys of a config's `uda` section."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmseg.registry import ConfigError


@dataclass(frozen=True)
class DACSSettings:
    """The keys of `uda` in a config."""

    source_only: bool = False
    alpha: float = 0.99
    pseudo_threshold: float = 0.968
    pseudo_weight_ignore_top: int = 0
    pseudo_weight_ignore_bottom: int = 0
    imnet_feature_dist_lambda: float = 0
    imnet_feature_dist_classes: Sequence[int] | None = None
    imnet_feature_dist_scale_min_ratio: float | None = None
    mix: Literal["class"] = "class"
    blur: bool = True
    color_jitter_strength: float = 0.2
    color_jitter_probability: float = 0.2
    mask_mode: str | None = None
    mask_alpha: float | str = "same"
    mask_pseudo_threshold: float | str | None = "same"
    mask_lambda: float = 0
    mask_generator: Mapping[str, Any] | None = None
    dataset: str | None = None
    matrix_path: str | None = None
    croped_images_path: str | None = None
    croped_labels_path: str | None = None
    reweight_threshold: float | None = None
    relabel_threshold: float | None = None
    threshold_decay: float = 0.0
    reference_quirks: bool = False

    def __post_init__(self) -> None:
        if self.mix != "class":
            raise ConfigError(f"expected uda.mix='class', got {self.mix!r}.")
        if self.mask_mode is not None:
            raise ConfigError(
                f"uda.mask_mode={self.mask_mode!r}: masked consistency (MIC) is not part of this "
                "version; set mask_mode=None."
            )
        needed = ("dataset", "croped_images_path", "croped_labels_path")
        needed += ("reweight_threshold", "relabel_threshold")
        missing = [key for key in needed if getattr(self, key) is None]
        if self.matrix_path is not None and missing:
            raise ConfigError(
                f"uda.matrix_path switches CDDA on, which needs uda.{missing[0]} too."
            )

    @property
    def uses_depth(self) -> bool:
        """Whether this is CDDA."""
        return self.matrix_path is not None and not self.source_only
