"""What every dataset shares: the index of its files, its samples, its evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mmseg.config.checking import checked
from mmseg.config.registry import DATASETS
from mmseg.config.values import Count, Index, Label, Part, Section, Text
from mmseg.datasets.class_maps import ClassMap, MappedLabels
from mmseg.datasets.depth.bins import make_command, png_name
from mmseg.datasets.file_checks import convert_command, require_files
from mmseg.datasets.image_files import files_below, picture_size, read_color, write_label
from mmseg.datasets.image_lists import ImageList
from mmseg.datasets.label_formats import LabelFormat, TrainIds
from mmseg.datasets.labels import IGNORE, LabelRule, Palette, is_labeled, with_palette
from mmseg.datasets.pipelines import Compose
from mmseg.datasets.pipelines.compose import Steps
from mmseg.datasets.pipelines.fields import Results
from mmseg.datasets.pipelines.reading import fit_label, reduce_zero
from mmseg.datasets.pipelines.resizing import with_short_side
from mmseg.datasets.sampler import Sampler
from mmseg.evaluation import evaluate_dataset
from mmseg.system.archives import has_file, has_folder, place
from mmseg.system.outputs import png_names

Sample = dict[str, Any]
Margins = Annotated[Sequence[Index | Part], Field(min_length=4, max_length=4)]
Names = Annotated[Sequence[Text], Field(min_length=1, max_length=255)]  # of classes
Color = Annotated[Sequence[Label], Field(min_length=3, max_length=3)]
LABELS_SEARCHED = 500  # before a dataset counts as one without a labeled pixel


@DATASETS.register()
class CustomDataset:
    """Images of a folder with their labels and, if wanted, their depth.

    A subclass sets the class attributes; see `gta.py` for a short one.

    Args:
        pipeline: steps that make a sample.
        img_dir: folder of images, searched recursively.
        ann_dir: folder of labels, laid out like `img_dir`.
        dep_dir: folder of depth maps, laid out like `img_dir`; relative to the current directory.
            Depth is read in training only; None trains without depth.
        data_root: `img_dir`, `ann_dir` and `split` are relative to it; archives in it count as
            unpacked (`mmseg.system.archives.place`).
        split: text file with one image name (without suffix) per line; None takes all images.
        img_suffix: ending of image names (.jpg stands for .JPG and .jpeg, too, .png for .PNG);
            None takes the class's own.
        seg_map_suffix: ending that replaces `img_suffix` in label names.
        test_mode: labels are only needed for `evaluate`; depth and margins are not used.
        ignore_index: label of pixels that do not count.
        reduce_zero_label: ignore class 0 in `gt_label` and count the others from 0.
        crop_pseudo_margins: [top, bottom, left, right] pixels of the image file, or (below 1)
            shares of its side, where pseudo-labels are not trusted: samples get a
            `valid_pseudo_mask`.
        test_short_side: in an evaluation, images and labels are resized to this shorter side as
            they are read, so predictions and metrics have that size.
        classes: names in the order of the train ids; None takes the class's own.
        palette: a color (red, green, blue) for each class; None takes the class's own, or distinct
            colors if that has another number of them.
        class_map: the classes of the network where they differ, see `ClassMap`.

    `CLASSES` and `PALETTE` are what the arguments say. `ValueError` if they do not go together,
    and, when a sample is drawn, if no label has a pixel of any class.
    """

    CLASSES: tuple[str, ...] = ()
    PALETTE: Palette | None = None
    UNLABELED_CLASSES: tuple[int, ...] = ()  # train ids that never occur in the labels
    ID_TO_TRAIN_ID: Mapping[int, int] = {}  # of the raw label files
    RAW_LABELS: tuple[LabelFormat, ...] = ()  # as they are downloaded, used if none is converted
    ID_PALETTE: Palette | None = None  # of label ids, if a public test server takes them
    IMG_SUFFIX = ".jpg"
    SEG_MAP_SUFFIX = ".png"
    CONVERTER: str | None = None  # file in tools/convert_datasets that makes labels and statistics
    DEPTH_LAYOUT: str | None = None  # --layout of tools/make_depth.py; None: names are kept
    NUM_CROPS: int | None = None  # how many source crops run_seg.py draws by default
    part: str | None = None  # a folder that the images' relative names pass through

    def __init__(
        self,
        pipeline: Steps,
        img_dir: str,
        ann_dir: str | None = None,
        dep_dir: str | None = None,
        data_root: str | None = None,
        split: str | None = None,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        test_mode: bool = False,
        ignore_index: Label = IGNORE,
        reduce_zero_label: bool = False,
        crop_pseudo_margins: Margins | None = None,
        classes: Names | None = None,
        palette: Sequence[Color] | None = None,
        class_map: Annotated[Section, checked(ClassMap, "class_map")] | None = None,
        test_short_side: Count | None = None,
    ) -> None:
        self._name = type(self).__name__
        root = data_root or ""
        self.pipeline, self.data_root = Compose(pipeline), data_root
        self.img_dir = place(root, img_dir)
        self.ann_dir = None if ann_dir is None else place(root, ann_dir)
        self.split = None if split is None else Path(root, split)
        self.dep_dir = None if dep_dir is None or test_mode else Path(dep_dir)
        self.img_suffix = self.IMG_SUFFIX if img_suffix is None else img_suffix
        layout = self.DEPTH_LAYOUT if self.img_suffix == self.IMG_SUFFIX else None
        self.depth_command = make_command(self.img_dir, self.dep_dir, layout)
        self.test_mode, self.ignore_index = test_mode, ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.crop_pseudo_margins = None if test_mode else crop_pseudo_margins
        self.short_side = test_short_side if test_mode else None
        names = self.CLASSES if classes is None else classes
        self.CLASSES, self.PALETTE = with_palette(names, palette, self.PALETTE)
        self.label_format = self._choose_format(seg_map_suffix)
        if class_map is not None:
            self._map_classes(ClassMap(**class_map))
        self.label_rule = None  # without CLASSES, any value is allowed
        if self.CLASSES:
            self.label_rule = LabelRule(len(self.CLASSES), ignore_index, self.remedy("labels"))
        self.is_proven = test_mode  # whether labels are known to show a class, or need not
        parts = (self.img_dir, self.split, self.img_suffix, self.label_format.suffix)
        self.img_infos = ImageList(self._name, *parts, part=self.part).read()
        if not test_mode:
            require_files(self)

    def __len__(self) -> int:
        return len(self.img_infos)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}.")
        return self.sample(index, np.random.default_rng((0, index)))

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return sample `index`; every random choice comes from `rng`."""
        return self.sampler(index)(rng)

    def sampler(self, index: int) -> Sampler:
        """Return what draws sample `index` again and again, reading its files once."""
        return Sampler(self.pipeline, self.pipeline.fixed(self._describe(index)), self._proven)

    def gt_label(self, index: int) -> np.ndarray:
        """Return the label (H, W) uint8 of image `index`, of the size of its predictions."""
        if self.ann_dir is None:
            raise ValueError(f"expected labels of {self._name}, got none. Set ann_dir.")
        path = self.ann_dir / self.img_infos[index]["ann"]["seg_map"]
        if not has_file(path):
            raise FileNotFoundError(
                f"expected the label '{path}', got no such file. {self.remedy('labels')}"
            )
        label = self.label_format.read(path)
        label = reduce_zero(label) if self.reduce_zero_label else label
        if self.label_rule is not None:
            self.label_rule.check(label, path)
        image = self.img_dir / self.img_infos[index]["filename"]
        if picture_size(image) != label.shape:
            label = fit_label(label, read_color(image).shape[:2], path, image)
        return label if self.short_side is None else with_short_side(label, self.short_side)

    def evaluate(
        self,
        results: Iterable[np.ndarray],
        metric: str | Sequence[str] = "mIoU",
        logger: Any = None,
    ) -> dict[str, float]:
        """Compare label maps (H, W), in the order of the images, with the labels."""
        self.require_classes()
        labels = (self.gt_label(i) for i in range(len(self)))
        return evaluate_dataset(results, labels, self.CLASSES, metric, logger, self.ignore_index)

    def format_results(
        self,
        results: Iterable[np.ndarray],
        imgfile_prefix: str | Path,
        to_label_id: bool = True,
        indices: Iterable[int] | None = None,
    ) -> list[str]:
        """Write label maps (H, W) of the images `indices` (by default all) as palette PNGs.

        The files lie in the folder `imgfile_prefix` and have `server_names`. With `to_label_id`
        they hold the label ids of the public test server, if there is one; `ValueError` if that has
        another number of classes.
        """
        self.check_format(to_label_id)
        files = []
        indices = range(len(self)) if indices is None else indices
        for index, result in zip(indices, results, strict=True):
            values, palette = np.asarray(result), self.PALETTE
            if to_label_id and self.ID_PALETTE is not None:
                values, palette = self.to_label_id(values), self.ID_PALETTE
            files.append(str(Path(imgfile_prefix, self.server_names[index])))
            write_label(files[-1], values, palette)
        return files

    def check_format(self, to_label_id: bool = True) -> None:
        """Raise `ValueError` if `format_results` cannot translate the classes to label ids."""
        known, count = len(self.ID_TO_TRAIN_ID), len(self.CLASSES)
        if to_label_id and self.ID_PALETTE is not None and known != count:
            raise ValueError(
                f"expected the {known} classes of {self._name}'s test server for label ids, got "
                f"{count}. Add --eval-options to_label_id=False to write train ids."
            )

    def require_classes(self) -> None:
        """Raise `ValueError` if nothing names the classes, which evaluation counts."""
        if not self.CLASSES:
            raise ValueError(
                f"expected the classes of the {self._name} of '{self.img_dir}', got none. Set "
                "classes=[…] in its section, the names in the order of the train ids."
            )

    def require_labeled(self) -> None:
        """Raise `ValueError` if no pixel of the labels, or of 500 spread over them, has a class."""
        chosen = range(0, len(self), -(-len(self) // LABELS_SEARCHED))
        if not any(is_labeled(self.gt_label(i), self.ignore_index) for i in chosen):
            part = "all" if len(chosen) == len(self) else f"{len(chosen)} of"
            raise ValueError(
                f"expected labels of {self._name} with pixels of a class in '{self.ann_dir}', got "
                f"ignored pixels alone in {part} {len(self)} labels. {self.remedy('labels')}"
            )

    @cached_property
    def server_names(self) -> list[str]:
        """Names of the files for a test server, after the images; folders only tell equal ones."""
        return png_names([info["filename"] for info in self.img_infos], is_flat=True)

    @classmethod
    def to_label_id(cls, label: np.ndarray) -> np.ndarray:
        """Translate train ids to label ids; other values stay."""
        lookup = np.arange(256, dtype=np.uint8)
        lookup[list(cls.ID_TO_TRAIN_ID.values())] = list(cls.ID_TO_TRAIN_ID)
        return lookup[np.asarray(label).astype(np.uint8)]

    @staticmethod
    def depth_name(filename: str) -> str:
        """Return the PNG name of an image's depth map; both are relative to their folders."""
        return png_name(filename)

    def remedy(self, product: str) -> str:
        """Say how to make the labels (or another product of the converter) of this dataset."""
        if self.CONVERTER is None:
            return f"Check ann_dir and seg_map_suffix, or write the {product} yourself."
        return f"Make the {product} with: {convert_command(self.CONVERTER, self.data_root)}"

    def _map_classes(self, class_map: ClassMap) -> None:
        """Take the classes that `class_map` leads to, and read labels as theirs."""
        train_ids = tuple(class_map.lookup(self.CLASSES))
        read = MappedLabels(self.label_format.read, train_ids)
        self.label_format = LabelFormat(self.label_format.suffix, read)
        self.CLASSES, self.PALETTE = with_palette(*class_map.classes())

    def _choose_format(self, suffix: str | None) -> LabelFormat:
        """Return how labels are named and read; raw ones are mapped if none is converted."""
        usual = LabelFormat(
            self.SEG_MAP_SUFFIX if suffix is None else suffix,
            TrainIds(self.remedy("labels")),
        )
        if suffix is not None or self.ann_dir is None or not has_folder(self.ann_dir):
            return usual
        names = files_below(self.ann_dir) if self.RAW_LABELS else []
        ways = (usual, *self.RAW_LABELS)
        return next((way for way in ways if any(n.endswith(way.suffix) for n in names)), usual)

    def _describe(self, index: int) -> Results:
        info = self.img_infos[index]
        depth = self.dep_dir and str(self.dep_dir / self.depth_name(info["filename"]))
        return {
            "img_info": info,
            "ann_info": info["ann"],
            "img_prefix": str(self.img_dir),
            "seg_prefix": None if self.ann_dir is None else str(self.ann_dir),
            "seg_fields": [],
            "label_rule": self.label_rule,
            "read_label": self.label_format.read,
            "depth_file": depth,
            "depth_command": self.depth_command,
            "crop_pseudo_margins": self.crop_pseudo_margins,
            "short_side": self.short_side,
        }

    def _proven(self, sample: Sample) -> Sample:
        """Return a sample, after a look at the label files if it is the first and all ignored."""
        label = None if self.is_proven else sample.get("gt_semantic_seg")
        if label is not None:
            if not is_labeled(label, self.ignore_index):
                self.require_labeled()
            self.is_proven = True
        return sample


def build_dataset(cfg: Mapping[str, Any], test_mode: bool = False) -> Any:
    """Build the dataset that `cfg` (`data.train`, `data.val`, `data.test`) describes."""
    return DATASETS.build(cfg, test_mode=test_mode or None)
