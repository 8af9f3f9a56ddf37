"""SYNTHIA (RAND-CITYSCAPES): 9,400 rendered images; terrain, truck and train are not labeled."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.label_formats import FirstChannelIds, LabelFormat
from mmseg.datasets.labels import CLASSES, PALETTE


@DATASETS.register()
class SynthiaDataset(CustomDataset):
    """Images `<x>.png` with labels `<x>_labelTrainIds.png`, or `<x>.png` as downloaded."""

    CLASSES, PALETTE = CLASSES, PALETTE
    IMG_SUFFIX = ".png"
    SEG_MAP_SUFFIX = "_labelTrainIds.png"
    CONVERTER = "synthia"
    # All other ids are ignored.
    LABEL_IDS = {
        "road": 3, "sidewalk": 4, "building": 2, "wall": 21, "fence": 5, "pole": 7,
        "traffic light": 15, "traffic sign": 9, "vegetation": 6, "terrain": 16, "sky": 1,
        "person": 10, "rider": 17, "car": 8, "truck": 18, "bus": 19, "train": 20,
        "motorcycle": 12, "bicycle": 11,
    }  # fmt: skip
    ID_TO_TRAIN_ID = {id_: CLASSES.index(name) for name, id_ in LABEL_IDS.items()}
    RAW_LABELS = (LabelFormat(".png", FirstChannelIds(ID_TO_TRAIN_ID)),)
    NUM_CROPS = 9400
    UNLABELED_CLASSES = (9, 14, 16)  # terrain, truck, train
    DEPTH_LAYOUT = "synthia"
