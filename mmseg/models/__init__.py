"""Networks, losses and training methods."""

from mmseg.config.registry import BACKBONES, HEADS, LOSSES, NECKS, SEGMENTORS, UDA
from mmseg.models.builder import (
    build_backbone,
    build_head,
    build_loss,
    build_neck,
    build_segmentor,
    build_train_model,
)

__all__ = ["BACKBONES", "HEADS", "LOSSES", "NECKS", "SEGMENTORS", "UDA"]
__all__ += ["build_backbone", "build_head", "build_loss", "build_neck"]
__all__ += ["build_segmentor", "build_train_model"]
