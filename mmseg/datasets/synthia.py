"""SYNTHIA (RAND-CITYSCAPES): 9,400 rendered images; terrain, truck and train are not labeled."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.labels import CLASSES, PALETTE


@DATASETS.register()
class SynthiaDataset(CustomDataset):
    """Images `<x>.png` with labels `<x>_labelTrainIds.png`."""

    CLASSES = CLASSES
    PALETTE = PALETTE
    IMG_SUFFIX = ".png"
    SEG_MAP_SUFFIX = "_labelTrainIds.png"
    CONVERTER = "synthia"
    DEPTH_LAYOUT = "synthia"
