"""Cityscapes and the datasets laid out like it."""

import numpy as np

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.labels import CLASSES, PALETTE


@DATASETS.register()
class CityscapesDataset(CustomDataset):
    """Images `<city>/<x>_leftImg8bit.png`, labels `<city>/<x>_gtFine_labelTrainIds.png`."""

    CLASSES = CLASSES
    PALETTE = PALETTE
    IMG_SUFFIX = "_leftImg8bit.png"
    SEG_MAP_SUFFIX = "_gtFine_labelTrainIds.png"
    CONVERTER = "cityscapes"
    # Label id -> train id; all other ids are ignored. The test server takes label ids.
    ID_TO_TRAIN_ID = {
        7: 0,
        8: 1,
        11: 2,
        12: 3,
        13: 4,
        17: 5,
        19: 6,
        20: 7,
        21: 8,
        22: 9,
        23: 10,
        24: 11,
        25: 12,
        26: 13,
        27: 14,
        28: 15,
        31: 16,
        32: 17,
        33: 18,
    }
    # Colors of the label ids 0…33 and, last, of the license plate (id -1).
    ID_PALETTE = [
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [111, 74, 0],
        [81, 0, 81],
        [128, 64, 128],
        [244, 35, 232],
        [250, 170, 160],
        [230, 150, 140],
        [70, 70, 70],
        [102, 102, 156],
        [190, 153, 153],
        [180, 165, 180],
        [150, 100, 100],
        [150, 120, 90],
        [153, 153, 153],
        [153, 153, 153],
        [250, 170, 30],
        [220, 220, 0],
        [107, 142, 35],
        [152, 251, 152],
        [70, 130, 180],
        [220, 20, 60],
        [255, 0, 0],
        [0, 0, 142],
        [0, 0, 70],
        [0, 60, 100],
        [0, 0, 90],
        [0, 0, 110],
        [0, 80, 100],
        [0, 0, 230],
        [119, 11, 32],
        [0, 0, 142],
    ]
    DEPTH_LAYOUT = "cityscapes"

    @staticmethod
    def depth_name(filename: str) -> str:
        """Return the depth map of an image, a PNG; both names are relative to their folders.

        Every `leftImg8bit` becomes `depth`: `aachen/x_leftImg8bit.png` -> `aachen/x_depth.png`.
        """
        return CustomDataset.depth_name(filename).replace("leftImg8bit", "depth")

    @classmethod
    def to_label_id(cls, label: np.ndarray) -> np.ndarray:
        """Translate train ids to label ids, as the test server takes them; others stay.

        >>> CityscapesDataset.to_label_id(np.array([[0, 18, 255]])).tolist()
        [[7, 33, 255]]
        """
        lookup = np.arange(256, dtype=np.uint8)
        lookup[list(cls.ID_TO_TRAIN_ID.values())] = list(cls.ID_TO_TRAIN_ID)
        return lookup[np.asarray(label).astype(np.uint8)]

    def _formatted(
        self, label: np.ndarray, to_label_id: bool
    ) -> tuple[np.ndarray, list[list[int]] | None]:
        if to_label_id:
            return self.to_label_id(label), self.ID_PALETTE
        return label, PALETTE
