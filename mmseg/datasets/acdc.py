"""ACDC: streets in fog, at night, in rain and snow."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.cityscapes import CityscapesDataset


@DATASETS.register()
class ACDCDataset(CityscapesDataset):
    """Images `<x>_rgb_anon.png` with labels `<x>_gt_labelTrainIds.png`."""

    IMG_SUFFIX = "_rgb_anon.png"
    SEG_MAP_SUFFIX = "_gt_labelTrainIds.png"
    CONVERTER = None
    DEPTH_LAYOUT = None
