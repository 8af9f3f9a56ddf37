"""What `run_seg.py` is told: by its command line, and by the config that is trained afterwards."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

from mmseg.config import Config
from mmseg.config.checking import read_section
from mmseg.config.registry import DATASETS
from mmseg.config.run_config import read_parts
from mmseg.config.values import Count, Index, Section, Seed, Text
from mmseg.datasets.depth.fit import source_depth_advice
from mmseg.datasets.joint import listed
from mmseg.datasets.labels import CLASSES
from mmseg.datasets.short_names import usual_crops
from mmseg.system.errors import ConfigError
from mmseg.system.options import check_values, option

T = TypeVar("T", bound="Options")
BANK_NAME = re.compile(r"(.+)_([1-9]\d*)_distribution\.pth")  # dataset, number of crops
READ = ("images", "labels")  # parts of a crop that the method reads
USUAL_NAME, USUAL_FOLDER = "gta", Path("preprocessed/gta_daformer")


@dataclass(frozen=True)
class Options:
    """The choices of one preprocessing run; what is None is chosen by the config, see `completed`.

    `num` is then what the config's bank is called after, else the dataset's `NUM_CROPS`.
    """

    dataset_name: str | None = option(
        None,
        "gta, synthia, or any with --num; by default that of the config, else gta",
        names=("--dataset_name",),
    )
    folder: Path | None = option(
        None,
        f"where crops and bank go; by default where the config reads them, else {USUAL_FOLDER}",
        names=("--source_preprocessed_path",),
    )
    num: Count | None = option(
        None, "crops to draw; by default as many as the config's bank has (gta 24966, synthia 9400)"
    )
    workers: Index = option(0, "processes that draw", names=("--num-workers",))
    seed: Seed = option(0, "of all draws")
    draws_crops: bool = option(True, "reuse the crops on disk", names=("--not_get_images",))
    counts_bank: bool = option(True, "write no statistics", names=("--not_get_distributions",))

    def completed(self: T, read: "CropConfig") -> T:
        """Return the options with the config's dataset, folder and number where they name none."""
        folder, name, num = self.folder, self.dataset_name, self.num
        if read.bank_file is not None and (parts := BANK_NAME.fullmatch(Path(read.bank_file).name)):
            num = int(parts[2]) if num is None else num
            if read.dataset is None or read.dataset.lower() == parts[1].lower():
                name = name or parts[1]
        name = name or read.dataset or USUAL_NAME
        num = usual_crops().get(name) if num is None else num
        if folder is None and read.bank_file is not None:
            folder = Path(read.bank_file).parent
        return replace(self, dataset_name=name, folder=folder, num=num)

    @property
    def root(self) -> Path:
        """Where crops and bank go."""
        return self.folder or USUAL_FOLDER

    @property
    def num_crops(self) -> int:
        """How many crops there will be."""
        assert self.num is not None  # of completed options
        return self.num

    @property
    def bank_file(self) -> Path:
        """Where the bank goes."""
        return self.root / f"{self.dataset_name}_{self.num_crops}_distribution.pth"


@dataclass(frozen=True)
class HeadPart:
    """What matters of the network's head."""

    IS_OPEN: ClassVar[bool] = True

    num_classes: Count = len(CLASSES)


@dataclass(frozen=True)
class MethodPart:
    """What matters of the training method."""

    IS_OPEN: ClassVar[bool] = True

    dataset: Text | None = None
    matrix_path: Text | None = None
    croped_images_path: Text | None = None
    croped_labels_path: Text | None = None
    source_only: bool = False


@dataclass(frozen=True)
class CropConfig:
    """What a training config says about its source crops."""

    file: str | None
    train: Section  # `data.train`, with a source that has depth
    num_classes: int  # of the network
    dataset: str | None  # whose statistics the method reads
    bank_file: str | None  # that the method reads
    crop_folders: Mapping[str, str | None]  # key of `uda` -> folder that the method reads

    @property
    def depth_folder(self) -> str:
        """The folder of the source's depth maps."""
        return listed(self.train["source"])[0]["dep_dir"]


def read_crop_config(cfg: Config) -> CropConfig:
    """Read a training config; `ConfigError` if it has no source with depth."""
    parts, file = read_parts(cfg), cfg.filename
    train = parts.data.train or {}
    if "source" not in train:
        raise ConfigError(
            f"{file}: expected data.train to be a UDADataset with a source, got "
            f"type {train.get('type')!r}. Choose the config that you want to train."
        )
    for source in listed(train["source"]):
        if isinstance(source, Mapping) and not source.get("dep_dir"):
            raise ConfigError(
                f"{file}: expected data.train.source.dep_dir, got none. "
                f"{source_depth_advice(source)}"
            )
    DATASETS.check(train)
    head = read_section(HeadPart, parts.model.get("decode_head"), "model.decode_head")
    method = read_section(MethodPart, parts.uda, "uda")
    if method.source_only or method.matrix_path is None:  # it reads no crops
        return CropConfig(file, train, head.num_classes, method.dataset, None, {})
    folders = {f"croped_{part}_path": getattr(method, f"croped_{part}_path") for part in READ}
    return CropConfig(file, train, head.num_classes, method.dataset, method.matrix_path, folders)


def check_choices(cfg: CropConfig, options: Options) -> None:
    """Raise an error for (completed) choices that cannot be carried out, or that miss the config.

    What a training of the config would read is what will be written.
    """
    check_values(options)
    if not options.draws_crops and not options.counts_bank:
        raise ValueError(
            "expected something to do, got both --not_get_images and --not_get_distributions. "
            "Leave out one of them."
        )
    if options.num is None:
        raise ValueError(
            f"expected --dataset_name {' or '.join(usual_crops())}, got {options.dataset_name!r}. "
            "For another dataset, set --num to the number of crops to draw."
        )
    wanted, name = cfg.dataset or options.dataset_name or "", options.dataset_name or ""
    if wanted.lower() != name.lower():
        raise ValueError(
            f"expected --dataset_name {wanted} for {cfg.file}, got {name!r}. Change one of them."
        )
    _check_paths(cfg, options)


def _check_paths(cfg: CropConfig, options: Options) -> None:
    """Raise unless the config reads the files that will be written."""
    written = {f"croped_{part}_path": options.root / part for part in READ}
    if options.counts_bank:
        written = {"matrix_path": options.bank_file, **written}
    read = {"matrix_path": cfg.bank_file, **cfg.crop_folders}
    for key, path in written.items():
        own = read.get(key)
        if own is not None and Path(own).resolve() != path.resolve():
            raise ConfigError(
                f"{cfg.file}: expected uda.{key} to be '{path}', which this command would write, "
                f"got {own!r}. Correct the config, or --dataset_name, --source_preprocessed_path "
                "or --num."
            )
