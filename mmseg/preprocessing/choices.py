"""What `run_seg.py` is told: by its command line, and by the config that is trained afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mmseg.config import Config
from mmseg.config.checking import read_section
from mmseg.config.registry import DATASETS
from mmseg.config.run_config import read_parts
from mmseg.config.values import Count, Index, Section, Seed, Text
from mmseg.datasets.depth.fit import source_depth_advice
from mmseg.datasets.labels import CLASSES
from mmseg.datasets.short_names import usual_crops
from mmseg.system.errors import ConfigError
from mmseg.system.options import check_values, option


@dataclass(frozen=True)
class Options:
    """The choices of one preprocessing run; `num=None` takes the dataset's `NUM_CROPS`."""

    dataset_name: str = option("gta", "gta, synthia, or any with --num", names=("--dataset_name",))
    folder: Path = option(
        Path("preprocessed/gta_daformer"),
        "where crops and bank go",
        names=("--source_preprocessed_path",),
    )
    num: Count | None = option(None, "crops to draw (gta 24966, synthia 9400)")
    workers: Index = option(0, "processes that draw", names=("--num-workers",))
    seed: Seed = option(0, "of all draws")
    draws_crops: bool = option(True, "reuse the crops on disk", names=("--not_get_images",))
    counts_bank: bool = option(True, "write no statistics", names=("--not_get_distributions",))

    @property
    def num_crops(self) -> int:
        """How many crops there will be."""
        return usual_crops()[self.dataset_name] if self.num is None else self.num

    @property
    def bank_file(self) -> Path:
        """Where the bank goes."""
        return self.folder / f"{self.dataset_name}_{self.num_crops}_distribution.pth"


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


@dataclass(frozen=True)
class CropConfig:
    """What a training config says about its source crops."""

    file: str | None
    train: Section  # `data.train`, with a source that has depth
    num_classes: int  # of the network
    dataset: str | None  # whose statistics the method reads
    bank_file: str | None  # that the method reads

    @property
    def depth_folder(self) -> str:
        """The folder of the source's depth maps."""
        return self.train["source"]["dep_dir"]


def read_crop_config(cfg: Config) -> CropConfig:
    """Read a training config; `ConfigError` if it has no source with depth."""
    parts, file = read_parts(cfg), cfg.filename
    train = parts.data.train or {}
    if "source" not in train:
        raise ConfigError(
            f"{file}: expected data.train to be a UDADataset with a source, got "
            f"type {train.get('type')!r}. Choose the config that you want to train."
        )
    if isinstance(train["source"], Mapping) and not train["source"].get("dep_dir"):
        raise ConfigError(
            f"{file}: expected data.train.source.dep_dir, got none. "
            f"{source_depth_advice(train['source'])}"
        )
    DATASETS.check(train)
    head = read_section(HeadPart, parts.model.get("decode_head"), "model.decode_head")
    method = read_section(MethodPart, parts.uda, "uda")
    return CropConfig(file, train, head.num_classes, method.dataset, method.matrix_path)


def check_choices(cfg: CropConfig, options: Options) -> list[str]:
    """Raise an error for choices that cannot be carried out; return what is odd about others."""
    check_values(options)
    if not options.draws_crops and not options.counts_bank:
        raise ValueError(
            "expected something to do, got both --not_get_images and --not_get_distributions. "
            "Leave out one of them."
        )
    usual = usual_crops()
    if options.num is None and options.dataset_name not in usual:
        raise ValueError(
            f"expected --dataset_name {' or '.join(usual)}, got {options.dataset_name!r}. "
            "For another dataset, set --num to the number of crops to draw."
        )
    wanted = cfg.dataset or options.dataset_name
    if wanted.lower() != options.dataset_name.lower():
        raise ValueError(
            f"expected --dataset_name {wanted} for {cfg.file}, got "
            f"{options.dataset_name!r}. Change one of them."
        )
    if cfg.bank_file and options.counts_bank and Path(cfg.bank_file) != options.bank_file:
        return [f"Note: {cfg.file} reads {cfg.bank_file}, but this run writes {options.bank_file}."]
    return []
