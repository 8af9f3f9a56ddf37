"""What every dataset shares: the index of its files, its samples, its evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.config.registry import DATASETS
from mmseg.datasets.depth.bins import make_command, png_name
from mmseg.datasets.image_files import files_below, read_label, write_label
from mmseg.datasets.labels import IGNORE, LabelRule
from mmseg.datasets.pipelines import Compose
from mmseg.datasets.pipelines.fields import Results
from mmseg.datasets.pipelines.loading import reduce_zero
from mmseg.evaluation import evaluate_dataset

Sample = dict[str, Any]


@DATASETS.register()
class CustomDataset:
    """Images of a folder with their labels and, if wanted, their depth.

    A subclass sets the class attributes; see `gta.py` for a short one.

    Args:
        pipeline: steps that make a sample.
        img_dir: folder of images, searched with all folders in it.
        ann_dir: folder of labels, laid out as `img_dir`.
        dep_dir: folder of depth maps, laid out as `img_dir`; relative to the current directory.
            Depth is read in training only; None trains without depth.
        data_root: `img_dir`, `ann_dir` and `split` are relative to it.
        split: text file with one image name (without suffix) per line; None takes all images.
        img_suffix: ending of image names; None takes that of the class.
        seg_map_suffix: ending that replaces `img_suffix` in label names.
        test_mode: labels are only needed for `evaluate`, depth and margins are not used.
        ignore_index: label of pixels that do not count.
        reduce_zero_label: make class 0 ignored in `gt_label` and count the others from 0.
        crop_pseudo_margins: [top, bottom, left, right] pixels of the image file where
            pseudo-labels are not trusted: samples get a `valid_pseudo_mask`.
    """

    CLASSES: tuple[str, ...] = ()
    PALETTE: list[list[int]] | None = None
    UNLABELED_CLASSES: tuple[int, ...] = ()  # train ids that the labels never hold
    ID_TO_TRAIN_ID: Mapping[int, int] = {}  # of the raw label files
    IMG_SUFFIX = ".jpg"
    SEG_MAP_SUFFIX = ".png"
    CONVERTER: str | None = None  # file in tools/convert_datasets that makes labels and statistics
    DEPTH_LAYOUT: str | None = None  # --layout of tools/make_depth.py; None: names are kept

    def __init__(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        img_dir: str,
        ann_dir: str | None = None,
        dep_dir: str | None = None,
        data_root: str | None = None,
        split: str | None = None,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        test_mode: bool = False,
        ignore_index: int = IGNORE,
        reduce_zero_label: bool = False,
        crop_pseudo_margins: Sequence[int] | None = None,
    ) -> None:
        self.pipeline = Compose(pipeline)
        self.data_root = data_root
        self.img_dir = _join(data_root, img_dir)
        self.ann_dir = None if ann_dir is None else _join(data_root, ann_dir)
        self.split = None if split is None else _join(data_root, split)
        self.dep_dir = None if dep_dir is None or test_mode else Path(dep_dir)
        self.img_suffix = self.IMG_SUFFIX if img_suffix is None else img_suffix
        layout = self.DEPTH_LAYOUT if self.img_suffix == self.IMG_SUFFIX else None
        self.depth_command = make_command(self.img_dir, self.dep_dir, layout)
        self.seg_map_suffix = self.SEG_MAP_SUFFIX if seg_map_suffix is None else seg_map_suffix
        self.test_mode = test_mode
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.crop_pseudo_margins = None if test_mode else _check_margins(crop_pseudo_margins)
        self.label_rule = None  # without CLASSES every value is right
        if self.CLASSES:
            self.label_rule = LabelRule(len(self.CLASSES), ignore_index, self.remedy("labels"))
        self.img_infos = self._index()
        if not test_mode:
            self._check_files()

    def __len__(self) -> int:
        return len(self.img_infos)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}.")
        return self.sample(index, np.random.default_rng((0, index)))

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return sample `index`; every random choice comes from `rng`."""
        return self.pipeline({**self._describe(index), "rng": rng})

    def sampler(self, index: int) -> Callable[[np.random.Generator], Sample]:
        """Return a function that draws sample `index` again and again, reading its files once."""
        fixed = self.pipeline.fixed(self._describe(index))
        return lambda rng: self.pipeline.drawn({**fixed, "rng": rng})

    def gt_label(self, index: int) -> np.ndarray:
        """Return the label of image `index` at its full size, (H, W) uint8 train ids."""
        if self.ann_dir is None:
            raise ValueError(f"expected labels of {self._name}, got no ann_dir. Set it.")
        path = self.ann_dir / self.img_infos[index]["ann"]["seg_map"]
        if not path.is_file():
            raise FileNotFoundError(
                f"expected the label '{path}', got no such file. {self.remedy('labels')}"
            )
        label = read_label(path, self.remedy("labels"))
        label = reduce_zero(label) if self.reduce_zero_label else label
        if self.label_rule is not None:
            self.label_rule.check(label, path)
        return label

    def evaluate(
        self,
        results: Iterable[np.ndarray],
        metric: str | Sequence[str] = "mIoU",
        logger: Any = None,
    ) -> dict[str, float]:
        """Compare label maps (H, W), in the order of the images, with the labels."""
        labels = (self.gt_label(i) for i in range(len(self)))
        return evaluate_dataset(results, labels, self.CLASSES, metric, logger, self.ignore_index)

    def format_results(
        self,
        results: Iterable[np.ndarray],
        imgfile_prefix: str | Path,
        to_label_id: bool = True,
        indices: Iterable[int] | None = None,
    ) -> list[str]:
        """Write label maps as palette PNGs into the folder `imgfile_prefix`.

        Args:
            results: label maps (H, W) of the images `indices` (of all images by default).
            imgfile_prefix: the folder; files are called as the images.
            to_label_id: write the label ids of the public test server if the dataset has one.
            indices: which images `results` belong to.
        """
        files = []
        indices = range(len(self)) if indices is None else indices
        for index, result in zip(indices, results, strict=True):
            values, palette = self._formatted(np.asarray(result), to_label_id)
            name = Path(self.img_infos[index]["filename"]).with_suffix(".png").name
            files.append(str(Path(imgfile_prefix, name)))
            write_label(files[-1], values, palette)
        return files

    @staticmethod
    def depth_name(filename: str) -> str:
        """Return the depth map of an image, a PNG; both names are relative to their folders."""
        return png_name(filename)

    def remedy(self, product: str) -> str:
        """Say how the labels (or what else the converter makes) of this dataset come about."""
        if self.CONVERTER is None:
            return f"Check ann_dir and seg_map_suffix, or write the {product} yourself."
        root = str(self.data_root or "data/…").rstrip("/")
        command = f"python tools/convert_datasets/{self.CONVERTER}.py {root} --nproc 8"
        return f"Make the {product} with: {command}"

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _formatted(
        self, label: np.ndarray, to_label_id: bool
    ) -> tuple[np.ndarray, list[list[int]] | None]:
        del to_label_id  # this dataset has no numbering but train ids
        return label, self.PALETTE

    def _describe(self, index: int) -> Results:
        info = self.img_infos[index]
        described: Results = {
            "img_info": info,
            "ann_info": info["ann"],
            "img_prefix": str(self.img_dir),
            "seg_prefix": None if self.ann_dir is None else str(self.ann_dir),
            "seg_fields": [],
            "label_rule": self.label_rule,
        }
        if self.dep_dir is not None:
            described["depth_file"] = str(self.dep_dir / self.depth_name(info["filename"]))
            described["depth_command"] = self.depth_command
        if self.crop_pseudo_margins is not None:
            described["crop_pseudo_margins"] = self.crop_pseudo_margins
        return described

    def _index(self) -> list[dict[str, Any]]:
        """List the images with their labels' names, sorted."""
        if not self.img_dir.is_dir():
            raise FileNotFoundError(
                f"expected the images of {self._name} in '{self.img_dir}', got no such folder. "
                f"Download them (docs/data.md) or correct data_root and img_dir."
            )
        names = self._image_names()
        if not names:
            raise FileNotFoundError(
                f"expected images '*{self.img_suffix}' of {self._name} in "
                f"'{self.split or self.img_dir}', got none. Check the folder."
            )
        stems = [name[: len(name) - len(self.img_suffix)] for name in names]
        return [
            {"filename": name, "ann": {"seg_map": stem + self.seg_map_suffix}}
            for name, stem in zip(names, stems, strict=True)
        ]

    def _image_names(self) -> list[str]:
        if self.split is None:
            return sorted(files_below(self.img_dir, self.img_suffix))
        if not self.split.is_file():
            raise FileNotFoundError(
                f"expected a list of images of {self._name} at '{self.split}', got no such file. "
                f"Write one image name without suffix per line, or leave split out."
            )
        try:
            lines = self.split.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"expected a list of images of {self._name} as UTF-8 text at '{self.split}', got "
                f"something else. Write one image name without suffix per line."
            ) from error
        names = sorted(line.strip() + self.img_suffix for line in lines if line.strip())
        present = set(files_below(self.img_dir, self.img_suffix))
        missing = [name for name in names if name not in present]
        if missing:
            raise FileNotFoundError(
                f"expected the images that '{self.split}' lists in '{self.img_dir}', got no file "
                f"for {len(missing)} of {len(names)}, the first '{missing[0]}'. Correct the "
                f"list (one image name without '{self.img_suffix}' per line) or add the images."
            )
        return names

    def _check_files(self) -> None:
        """Raise if a training image lacks its label or its depth map."""
        if self.pipeline.has_step("LoadAnnotations"):
            names = [info["ann"]["seg_map"] for info in self.img_infos]
            if self.ann_dir is None:
                raise ValueError(
                    f"expected ann_dir of {self._name}, whose pipeline has LoadAnnotations, got "
                    f"none. Set ann_dir or drop that step."
                )
            self._check_folder("label", self.ann_dir, names, self.remedy("labels"))
        if self.dep_dir is not None:
            names = [self.depth_name(info["filename"]) for info in self.img_infos]
            remedy = f"Make them with: {self.depth_command} (docs/depth_maps.md), or set "
            remedy += "dep_dir=None to train without depth (CDDA needs it)."
            self._check_folder("depth map", self.dep_dir, names, remedy)

    def _check_folder(self, kind: str, folder: Path, names: list[str], remedy: str) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"expected a {kind} for every image of '{self.img_dir}' in '{folder}', got no such "
                f"folder. {remedy}"
            )
        present = set(files_below(folder))
        missing = [i for i, name in enumerate(names) if name not in present]
        if missing:
            image = self.img_dir / self.img_infos[missing[0]]["filename"]
            raise FileNotFoundError(
                f"expected a {kind} for every image of {self._name}, got none for {len(missing)} "
                f"of {len(names)}: image '{image}', missing '{folder / names[missing[0]]}'. "
                f"{remedy}"
            )


def build_dataset(cfg: Mapping[str, Any], test_mode: bool = False) -> Any:
    """Build the dataset that `cfg` (`data.train`, `data.val`, `data.test`) describes."""
    return DATASETS.build(cfg, test_mode=test_mode or None)


def _join(root: str | None, path: str) -> Path:
    return Path(path) if root is None else Path(root, path)


def _check_margins(margins: Sequence[int] | None) -> list[int] | None:
    if margins is None:
        return None
    if len(margins) != 4 or not all(isinstance(m, int) and m >= 0 for m in margins):
        raise ValueError(
            f"expected crop_pseudo_margins as [top, bottom, left, right] in pixels, got {margins}."
        )
    return list(margins)
