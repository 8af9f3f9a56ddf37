"""Dark Zurich: streets at night."""

from mmseg.datasets.acdc import ACDCDataset
from mmseg.registry import DATASETS


@DATASETS.register()
class DarkZurichDataset(ACDCDataset):
    """Images `<x>_rgb_anon.png` with labels `<x>_gt_labelTrainIds.png`."""
