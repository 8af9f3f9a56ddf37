"""Cityscapes and the datasets laid out like it."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.labels import CLASSES, PALETTE


@DATASETS.register()
class CityscapesDataset(CustomDataset):
    """Images `<city>/<x>_leftImg8bit.png`, labels `<city>/<x>_gtFine_labelTrainIds.png`."""

    CLASSES, PALETTE = CLASSES, PALETTE
    IMG_SUFFIX = "_leftImg8bit.png"
    SEG_MAP_SUFFIX = "_gtFine_labelTrainIds.png"
    CONVERTER = "cityscapes"
    POLYGON_SUFFIX = "_gtFine_polygons.json"  # raw labels, beside which the converter writes
    # All other ids are ignored. The test server takes these, not train ids.
    LABEL_IDS = {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
        "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
        "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31,
        "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip
    ID_TO_TRAIN_ID = {id_: CLASSES.index(name) for name, id_ in LABEL_IDS.items()}
    # Colors of the label ids 0…33 and, last, of the license plate (id -1).
    ID_PALETTE = [
        *[[0, 0, 0]] * 5, [111, 74, 0], [81, 0, 81], *PALETTE[0:2], [250, 170, 160],
        [230, 150, 140], *PALETTE[2:5], [180, 165, 180], [150, 100, 100], [150, 120, 90],
        PALETTE[5], PALETTE[5], *PALETTE[6:16], [0, 0, 90], [0, 0, 110], *PALETTE[16:19],
        [0, 0, 142],
    ]  # fmt: skip
    DEPTH_LAYOUT = "cityscapes"

    @staticmethod
    def depth_name(filename: str) -> str:
        """Return the PNG name of an image's depth map: every `leftImg8bit` becomes `depth`.

        >>> CityscapesDataset.depth_name("aachen/x_leftImg8bit.png")
        'aachen/x_depth.png'
        """
        return CustomDataset.depth_name(filename).replace("leftImg8bit", "depth")
