"""Training methods that adapt a segmentor to unlabeled images."""

from mmseg.models.uda.advseg import AdvSeg
from mmseg.models.uda.base import StepOutput, Supervised, TrainingMethod
from mmseg.models.uda.dacs import DACS
from mmseg.models.uda.draws import Augmentation, Draws
from mmseg.models.uda.minent import MinEnt

__all__ = ["DACS", "AdvSeg", "Augmentation", "Draws", "MinEnt"]
__all__ += ["StepOutput", "Supervised", "TrainingMethod"]
