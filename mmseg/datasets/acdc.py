"""ACDC: streets in fog, at night, in rain and snow."""

from pathlib import Path, PurePosixPath
from typing import Any

from mmseg.config.registry import DATASETS
from mmseg.datasets.cityscapes import CityscapesDataset
from mmseg.datasets.labels import CLASSES
from mmseg.datasets.pipelines.compose import Steps
from mmseg.datasets.servers import ServerRule
from mmseg.system.archives import has_folder, place

CONDITIONS = ("fog", "night", "rain", "snow")


@DATASETS.register()
class ACDCDataset(CityscapesDataset):
    """Images `<x>_rgb_anon.png` with labels `<x>_gt_labelTrainIds.png`.

    `img_dir='rgb_anon/val'` is a folder of images, or, where there is no such folder, stands for
    the layout of the archives, `rgb_anon/<condition>/val/…`; so do `ann_dir` and `dep_dir`. The
    archives' folders tell the condition of an image.
    """

    IMG_SUFFIX = "_rgb_anon.png"
    SEG_MAP_SUFFIX = "_gt_labelTrainIds.png"
    CONVERTER = None
    RAW_LABELS = ()  # the archives have train ids
    SERVER = ServerRule("rgb_anon", (1920, 1080), len(CLASSES), takes_label_ids=False)
    DEPTH_LAYOUT = None

    def __init__(
        self,
        pipeline: Steps,
        img_dir: str,
        ann_dir: str | None = None,
        dep_dir: str | None = None,
        data_root: str | None = None,
        **options: Any,
    ) -> None:
        self.part = part_of_archive(data_root or "", img_dir)
        if self.part is not None:
            img_dir, ann_dir, dep_dir = map(_parent, (img_dir, ann_dir, dep_dir))
        super().__init__(pipeline, img_dir, ann_dir, dep_dir, data_root, **options)

    @staticmethod
    def condition_of(filename: str) -> str | None:
        """Return the weather or time of day that the folders of an image name.

        >>> ACDCDataset.condition_of("fog/val/GP01/GP01_frame_1_rgb_anon.png")
        'fog'
        """
        return next((p for p in PurePosixPath(filename).parts[:-1] if p in CONDITIONS), None)


def part_of_archive(root: str | Path, name: str | Path) -> str | None:
    """Return the last name of a folder that is not there, but in an archive for each condition."""
    above, last = place(root, Path(name).parent), Path(name).name
    is_archive = any(has_folder(above / condition / last) for condition in CONDITIONS)
    return last if is_archive and not has_folder(place(root, name)) else None


def _parent(folder: Any) -> Any:
    return None if folder is None else str(Path(folder).parent)
