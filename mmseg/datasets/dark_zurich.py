"""Dark Zurich: streets at night."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.acdc import ACDCDataset


@DATASETS.register()
class DarkZurichDataset(ACDCDataset):
    """Images `<x>_rgb_anon.png` with labels `<x>_gt_labelTrainIds.png`."""
