"""Images and labels of your own, in folders or archives, described by a table of classes."""

from collections.abc import Sequence
from typing import Any, Literal

from mmseg.config.registry import DATASETS
from mmseg.config.values import Label
from mmseg.datasets.class_table import Classes, ClassTable, Color, LabelId, read_class_table
from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.image_files import files_below
from mmseg.datasets.label_formats import LabelColors, LabelFormat, LabelIds
from mmseg.datasets.labels import IGNORE
from mmseg.datasets.pairing import find_endings, usual_suffix
from mmseg.datasets.pipelines.compose import Steps
from mmseg.system.archives import has_folder, place
from mmseg.system.errors import ConfigError


@DATASETS.register()
class FolderDataset(CustomDataset):
    """Images with labels of any classes.

    Args:
        pipeline, img_dir: as for `CustomDataset`; each folder may lie in an archive, such as
            'street.zip!/images', or in several, 'street_*.zip!/images'.
        ann_dir: folder of labels, laid out like `img_dir`; None for a target without any.
        classes: the table of classes, or the JSON or CSV file that holds it (`class_table`).
        labels: what label files hold: 'ids' (gray values or indices of a palette) or 'colors'.
        ignored_ids: ids of the files that do not count, or 'others' for all that are not in the
            table; 255 never counts.
        ignored_colors: the same for colors, (red, green, blue) each; black by default.
        img_suffix, seg_map_suffix: endings of image and label names; None finds them out.
        data_root, options: as for `CustomDataset`.
    """

    def __init__(
        self,
        pipeline: Steps,
        img_dir: str,
        ann_dir: str | None = None,
        classes: Classes | None = None,
        labels: Literal["ids", "colors"] = "ids",
        ignored_ids: Sequence[LabelId] | Literal["others"] = (),
        ignored_colors: Sequence[Color] | Literal["others"] = ((0, 0, 0),),
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        data_root: str | None = None,
        palette: Sequence[Color] | None = None,
        **options: Any,
    ) -> None:
        self.table = None if classes is None else read_class_table(classes)
        self.labels, self.ignored_ids, self.ignored_colors = labels, ignored_ids, ignored_colors
        names = None if self.table is None else self.table.names
        colors = palette if palette is not None or self.table is None else self.table.colors
        found = _find_endings(data_root, img_dir, ann_dir)
        super().__init__(
            pipeline,
            img_dir,
            ann_dir,
            data_root=data_root,
            classes=names,
            palette=colors,
            img_suffix=img_suffix or (found and found[0]),
            seg_map_suffix=seg_map_suffix or (found and found[1]),
            **options,
        )

    def remedy(self, product: str) -> str:
        """Say how to correct the labels."""
        return "Check them, or the table of classes and the keys `labels` and `ignored_…`."

    def _choose_format(self, suffix: str | None) -> LabelFormat:
        usual = super()._choose_format(suffix)
        if self.table is None:
            return usual
        read = self._colors(self.table) if self.labels == "colors" else self._ids(self.table)
        return LabelFormat(usual.suffix, read)

    def _ids(self, table: ClassTable) -> LabelIds:
        if isinstance(self.ignored_ids, str):
            return LabelIds(table.train_ids, "ignore", remedy=self.remedy("labels"))
        ignored = (IGNORE, self.ignore_index, *self.ignored_ids)
        return LabelIds(table.train_ids, "refuse", ignored, self.remedy("labels"))

    def _colors(self, table: ClassTable) -> LabelColors:
        if table.colors is None:
            raise ConfigError(
                "expected a color for each class in the table of classes with labels='colors', got "
                "classes without one. Add the colors, or set labels='ids'."
            )
        colors = {_triple(color): train_id for train_id, color in enumerate(table.colors)}
        if len(colors) < len(table.colors):
            raise ConfigError(
                "expected a different color for each class with labels='colors', got the same "
                "color twice. Correct the table of classes."
            )
        if isinstance(self.ignored_colors, str):
            return LabelColors(colors, "ignore", (), self.remedy("labels"))
        ignored = tuple(_triple(c) for c in self.ignored_colors if _triple(c) not in colors)
        return LabelColors(colors, "refuse", ignored, self.remedy("labels"))


def _triple(color: Sequence[Label]) -> tuple[int, int, int]:
    red, green, blue = color
    return red, green, blue


def _find_endings(
    root: str | None, img_dir: str, ann_dir: str | None
) -> tuple[str | None, str | None] | None:
    """Return how images and labels end; None for folders that are not there."""
    images = place(root or "", img_dir)
    if not has_folder(images):
        return None
    names = files_below(images)
    labels = None if ann_dir is None else place(root or "", ann_dir)
    if labels is None or not has_folder(labels):
        return usual_suffix(names), None
    return find_endings(names, files_below(labels)) or (usual_suffix(names), None)
