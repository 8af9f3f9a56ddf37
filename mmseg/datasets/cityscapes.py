"""Cityscapes and the data sets laid out like it."""

import numpy as np

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.labels import (
    CITYSCAPES_ID_PALETTE,
    CLASSES,
    PALETTE,
    train_id_to_cityscapes_id,
)


@DATASETS.register()
class CityscapesDataset(CustomDataset):
    """Images `<city>/<x>_leftImg8bit.png`, labels `<city>/<x>_gtFine_labelTrainIds.png`."""

    CLASSES = CLASSES
    PALETTE = PALETTE
    IMG_SUFFIX = "_leftImg8bit.png"
    SEG_MAP_SUFFIX = "_gtFine_labelTrainIds.png"
    CONVERTER = "cityscapes"
    DEPTH_LAYOUT = "cityscapes"

    @staticmethod
    def depth_name(filename: str) -> str:
        """Return the depth map of an image, a PNG; both names are relative to their folders.

        Every `leftImg8bit` becomes `depth`: `aachen/x_leftImg8bit.png` -> `aachen/x_depth.png`.
        """
        return CustomDataset.depth_name(filename).replace("leftImg8bit", "depth")

    def _formatted(
        self, label: np.ndarray, to_label_id: bool
    ) -> tuple[np.ndarray, list[list[int]] | None]:
        if to_label_id:
            return train_id_to_cityscapes_id(label), CITYSCAPES_ID_PALETTE
        return label, PALETTE
