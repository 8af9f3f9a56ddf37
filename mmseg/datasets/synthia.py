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
    # Label id -> train id; all other ids are ignored.
    ID_TO_TRAIN_ID = {
        3: 0,
        4: 1,
        2: 2,
        21: 3,
        5: 4,
        7: 5,
        15: 6,
        9: 7,
        6: 8,
        16: 9,
        1: 10,
        10: 11,
        17: 12,
        8: 13,
        18: 14,
        19: 15,
        20: 16,
        12: 17,
        11: 18,
    }
    UNLABELED_CLASSES = (9, 14, 16)  # terrain, truck, train
    DEPTH_LAYOUT = "synthia"
