"""Networks, losses and training methods."""

from mmseg.models.builder import (
    BACKBONES,
    HEADS,
    LOSSES,
    NECKS,
    SEGMENTORS,
    UDA,
    build_segmentor,
    build_train_model,
)

__all__ = [
    "BACKBONES",
    "HEADS",
    "LOSSES",
    "NECKS",
    "SEGMENTORS",
    "UDA",
    "build_segmentor",
    "build_train_model",
]
