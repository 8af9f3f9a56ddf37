"""Losses and the training accuracy."""

from mmseg.models.losses.accuracy import accuracy
from mmseg.models.losses.cross_entropy import (
    CrossEntropyLoss,
    binary_cross_entropy,
    cross_entropy,
    reduce_loss,
)

__all__ = [
    "CrossEntropyLoss",
    "accuracy",
    "binary_cross_entropy",
    "cross_entropy",
    "reduce_loss",
]
