"""GTA: 24,966 frames of a computer game with the label ids of Cityscapes."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.label_formats import LabelFormat, LabelIds
from mmseg.datasets.labels import CLASSES, PALETTE


@DATASETS.register()
class GTADataset(CustomDataset):
    """Images `<x>.png` with labels `<x>_labelTrainIds.png`, or `<x>.png` as downloaded."""

    CLASSES, PALETTE = CLASSES, PALETTE
    IMG_SUFFIX = ".png"
    SEG_MAP_SUFFIX = "_labelTrainIds.png"
    CONVERTER = "gta"
    LABEL_IDS = CityscapesDataset.LABEL_IDS  # road 7, sidewalk 8, …: its authors took these
    ID_TO_TRAIN_ID = CityscapesDataset.ID_TO_TRAIN_ID
    RAW_LABELS = (LabelFormat(".png", LabelIds(ID_TO_TRAIN_ID)),)
    NUM_CROPS = 24966
    DEPTH_LAYOUT = "gta"
