"""Losses, the choice of pixels that they look at, and the training accuracy."""

from mmseg.models.losses.accuracy import accuracy
from mmseg.models.losses.cross_entropy import (
    CrossEntropyLoss,
    binary_cross_entropy,
    cross_entropy,
    reduce_loss,
)
from mmseg.models.losses.loss_names import is_loss
from mmseg.models.losses.pixel_sampler import PIXEL_SAMPLERS, OHEMPixelSampler, SamplerCfg

__all__ = [
    "PIXEL_SAMPLERS", "CrossEntropyLoss", "OHEMPixelSampler", "SamplerCfg", "accuracy",
    "binary_cross_entropy", "cross_entropy", "is_loss", "reduce_loss",
]  # fmt: skip
