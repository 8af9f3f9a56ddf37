"""Losses and the training accuracy."""

from mmseg.models.losses.accuracy import accuracy
from mmseg.models.losses.cross_entropy import (
    CrossEntropyLoss,
    binary_cross_entropy,
    cross_entropy,
    reduce_loss,
)
from mmseg.models.losses.loss_names import is_loss

__all__ = [
    "CrossEntropyLoss",
    "accuracy",
    "binary_cross_entropy",
    "cross_entropy",
    "is_loss",
    "reduce_loss",
]
