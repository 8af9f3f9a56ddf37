"""What scripts call: load a network and predict, train, test."""

from typing import TYPE_CHECKING

from mmseg.system.lazy_names import lazy_names

if TYPE_CHECKING:
    from mmseg.apis.inference import inference_segmentor, init_segmentor, show_result_pyplot
    from mmseg.apis.predicting.segmenter import Segmentation, Segmenter
    from mmseg.apis.train import run_training, train_segmentor
    from mmseg.apis.train_options import TrainOptions

__all__ = [
    "Segmentation",
    "Segmenter",
    "TrainOptions",
    "inference_segmentor",
    "init_segmentor",
    "run_training",
    "show_result_pyplot",
    "train_segmentor",
]
__getattr__ = lazy_names(
    __name__,
    {
        "inference": ("inference_segmentor", "init_segmentor", "show_result_pyplot"),
        "predicting.segmenter": ("Segmentation", "Segmenter"),
        "train": ("run_training", "train_segmentor"),
        "train_options": ("TrainOptions",),
    },
)
