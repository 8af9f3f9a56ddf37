"""Networks, losses and training methods."""

from mmseg.models.builder import build_segmentor, build_train_model
from mmseg.registry import BACKBONES, HEADS, LOSSES, NECKS, SEGMENTORS, UDA

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
