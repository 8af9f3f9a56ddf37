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
    # The label ids of the train ids 0…18; all others are ignored.
    LABEL_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)
    ID_TO_TRAIN_ID = {label_id: train_id for train_id, label_id in enumerate(LABEL_IDS)}
    NUM_CROPS = 9400
    UNLABELED_CLASSES = (9, 14, 16)  # terrain, truck, train
    DEPTH_LAYOUT = "synthia"
