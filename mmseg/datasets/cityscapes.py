"""Cityscapes and the datasets laid out like it."""

from mmseg.config.registry import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.label_formats import LabelFormat, LabelIds
from mmseg.datasets.labels import CLASSES, IGNORE, PALETTE
from mmseg.datasets.polygons import PolygonLabels
from mmseg.datasets.servers import ServerRule

# Names of the label ids 0…33, as polygon files have them. All but the 19 classes are ignored.
ID_NAMES = (
    ("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic")
    + ("ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence")
    + ("guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign")
    + ("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan")
    + ("trailer", "train", "motorcycle", "bicycle")
)
TRAIN_IDS = {name: CLASSES.index(name) if name in CLASSES else IGNORE for name in ID_NAMES}


@DATASETS.register()
class CityscapesDataset(CustomDataset):
    """Images `<city>/<x>_leftImg8bit.png`, labels `<city>/<x>_gtFine_labelTrainIds.png`.

    Labels as downloaded are `…_labelIds.png` or `…_polygons.json`.
    """

    CLASSES, PALETTE = CLASSES, PALETTE
    IMG_SUFFIX = "_leftImg8bit.png"
    SEG_MAP_SUFFIX = "_gtFine_labelTrainIds.png"
    CONVERTER = "cityscapes"
    POLYGON_SUFFIX = "_gtFine_polygons.json"  # raw labels, beside which the converter writes
    SERVER = ServerRule("leftImg8bit", (2048, 1024), len(ID_NAMES), takes_label_ids=True)
    LABEL_IDS = {name: ID_NAMES.index(name) for name in CLASSES}
    ID_TO_TRAIN_ID = {id_: CLASSES.index(name) for name, id_ in LABEL_IDS.items()}
    RAW_LABELS = (
        LabelFormat("_gtFine_labelIds.png", LabelIds(ID_TO_TRAIN_ID)),
        LabelFormat(POLYGON_SUFFIX, PolygonLabels(TRAIN_IDS)),
    )
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
