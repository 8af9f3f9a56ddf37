"""What scripts call: load a network and predict, train, test."""

from mmseg.apis.inference import inference_segmentor, init_segmentor
from mmseg.apis.train import run_training, train_segmentor
from mmseg.apis.train_options import TrainOptions

__all__ = [
    "TrainOptions",
    "inference_segmentor",
    "init_segmentor",
    "run_training",
    "train_segmentor",
]
