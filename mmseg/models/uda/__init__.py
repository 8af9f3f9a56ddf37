"""Training methods that adapt a segmentor to unlabeled images."""

from mmseg.models.uda.base import StepOutput, Supervised, TrainingMethod
from mmseg.models.uda.dacs import DACS
from mmseg.models.uda.draws import Augmentation, Draws

__all__ = ["DACS", "Augmentation", "Draws", "StepOutput", "Supervised", "TrainingMethod"]
