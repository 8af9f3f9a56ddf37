"""Draw the source crops of a config and count their bank: what `run_seg.py` does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmseg.config import Config
from mmseg.datasets import build_dataset
from mmseg.datasets.depth.fit import crop_warnings, source_depth_advice
from mmseg.datasets.depth.inspection import dataset_warnings
from mmseg.datasets.depth.record import find_record, recipe_hash
from mmseg.datasets.labels import CLASSES
from mmseg.preprocessing.bank import count_bank, save_bank
from mmseg.preprocessing.crops import CropFolder, CropWriter, draw_crop, each_item
from mmseg.preprocessing.plan import Estimate, Settings, check_disk, estimate, source_fingerprint
from mmseg.system.errors import ConfigError
from mmseg.system.files import require_writable
from mmseg.system.interruption import Interruption, Watch

DEFAULT_NUM = {"gta": 24966, "synthia": 9400}


@dataclass(frozen=True)
class Options:
    """The choices of one preprocessing run; `num=None` takes the dataset's usual number."""

    dataset_name: str
    folder: Path
    num: int | None = None
    workers: int = 0
    seed: int = 0
    draws_crops: bool = True
    counts_bank: bool = True

    @property
    def num_crops(self) -> int:
        """How many crops there will be."""
        if self.num is None:
            return DEFAULT_NUM[self.dataset_name]
        return self.num

    @property
    def bank_file(self) -> Path:
        """Where the bank goes."""
        return self.folder / f"{self.dataset_name}_{self.num_crops}_distribution.pth"


def preprocess(cfg: Config, options: Options, say: Callable[[str], object]) -> Path | None:
    """Write the crops and the bank; return the bank's file, or None if it was not asked for.

    Args:
        cfg: a training config; its source side decides what a crop is.
        options: see `Options`.
        say: takes the lines that a person should read before and after the work.
    """
    check(cfg, options, say)
    require_writable(options.folder)
    crops = CropFolder(options.folder)
    crops.remove_partials()
    with Interruption() as interruption:
        if options.draws_crops:
            _draw(cfg, options, crops, interruption, say)
        else:
            _require_all(cfg, options, crops)
            dep_dir = cfg.data.train["source"]["dep_dir"]
            _warn(crop_warnings([crops.root], dep_dir), say)
            say(f"Reuses the {options.num_crops} crops in {crops.root}.")
        if options.counts_bank:
            _count(cfg, options, crops, interruption)
    crops.remove_partials()  # of workers that outlived a killed run for a moment
    if not options.counts_bank:
        return None
    say(f"Saved the statistics of {options.num_crops} crops to {options.bank_file}.")
    return options.bank_file


def check(cfg: Config, options: Options, say: Callable[[str], object]) -> None:
    """Raise an error for choices that cannot be carried out; mention those that look odd."""
    if not options.draws_crops and not options.counts_bank:
        raise ValueError(
            "expected something to do, got both --not_get_images and --not_get_distributions; "
            "leave out one of them."
        )
    if options.num is None and options.dataset_name not in DEFAULT_NUM:
        raise ValueError(
            f"expected --dataset_name {' or '.join(DEFAULT_NUM)}, got {options.dataset_name!r}; "
            "for another dataset, say with --num how many crops to draw."
        )
    if options.num_crops < 1:
        raise ValueError(f"expected at least one crop, got --num {options.num}.")
    _check_source(cfg)
    uda: Mapping[str, Any] = cfg.get("uda") or {}
    if uda.get("dataset", options.dataset_name) != options.dataset_name:
        raise ValueError(
            f"expected --dataset_name {uda['dataset']} for {cfg.filename}, got "
            f"{options.dataset_name!r}; change one of them."
        )
    reads = uda.get("matrix_path")
    if reads and options.counts_bank and Path(reads) != options.bank_file:
        say(f"Note: {cfg.filename} reads {reads}, but this run writes {options.bank_file}.")


def _check_source(cfg: Config) -> None:
    """Raise `ConfigError` unless `data.train` has a source side with depth."""
    train: Mapping[str, Any] = cfg.get("data", {}).get("train", {})
    if "source" not in train:
        raise ConfigError(
            f"{cfg.filename}: expected data.train to be a UDADataset with a source, got "
            f"type {train.get('type')!r}; choose the config that you want to train."
        )
    if not train["source"].get("dep_dir"):
        raise ConfigError(
            f"{cfg.filename}: expected data.train.source.dep_dir, got none. "
            f"{source_depth_advice(train['source'])}"
        )


def _count(cfg: Config, options: Options, crops: CropFolder, interruption: Interruption) -> None:
    """Count the bank and save it."""
    num, classes = options.num_crops, num_classes(cfg)
    watch = Watch(interruption, "crops of the statistics", num)
    save_bank(count_bank(crops, num, classes, options.workers, watch), options.bank_file)


def num_classes(cfg: Config) -> int:
    """Return how many classes the network of a config tells apart, which the bank counts."""
    head = (cfg.get("model") or {}).get("decode_head") or {}
    return head.get("num_classes") or len(CLASSES)


def _draw(
    cfg: Config,
    options: Options,
    crops: CropFolder,
    interruption: Interruption,
    say: Callable[[str], object],
) -> None:
    """Draw every crop that is not there yet."""
    dataset = build_dataset(cfg.data.train)
    _warn(dataset_warnings(dataset), say)
    settings = _settings(cfg, options, dataset)
    settings.check(crops)
    todo = crops.missing(options.num_crops)
    if not todo:
        say(f"All {options.num_crops} crops are in {crops.root} already.")
        return
    if len(todo) < options.num_crops:
        done = options.num_crops - len(todo)
        say(f"{done} of {options.num_crops} crops are in {crops.root} already; draws the others.")
    ahead = _announce(cfg, dataset, options, len(todo), say)
    check_disk(crops, ahead.bytes)
    if crops.is_empty():  # else they are there, and are those of the maps of the first crops
        settings.write(crops)
    writer = CropWriter(dataset, crops, options.seed, todo)
    written = each_item(writer, options.workers)
    watch = Watch(interruption, "crops", len(todo))
    for _ in tqdm(watch(written), total=len(todo), desc="crops", unit="crop"):
        pass


def _warn(warnings: Sequence[str], say: Callable[[str], object]) -> None:
    for warning in warnings:
        say(f"Warning: {warning}")


def _announce(
    cfg: Config, dataset: Any, options: Options, num_crops: int, say: Callable[[str], object]
) -> Estimate:
    """Say what is ahead, measured on a few crops."""
    num_histograms = options.num_crops if options.counts_bank else 0
    size = (num_histograms, num_classes(cfg))
    ahead = estimate(dataset, options.seed, num_crops, size, options.workers)
    say(
        f"Writes {ahead} to {options.folder}: {num_crops} crops"
        + (f" and the statistics of {num_histograms}." if num_histograms else ".")
    )
    return ahead


def _settings(cfg: Config, options: Options, dataset: Any) -> Settings:
    height, width = draw_crop(dataset, options.seed, 0).label.shape
    return Settings(
        dataset_name=options.dataset_name,
        source=source_fingerprint(cfg.data.train, dataset),
        seed=options.seed,
        num=options.num_crops,
        crop_size=(height, width),
        depth_recipe=recipe_hash(find_record(cfg.data.train["source"]["dep_dir"])),
    )


def _require_all(cfg: Config, options: Options, crops: CropFolder) -> None:
    """Raise `FileNotFoundError` unless every crop is on disk."""
    missing = crops.missing(options.num_crops)
    if missing:
        raise FileNotFoundError(
            f"expected {options.num_crops} crops in {crops.root}, got "
            f"{options.num_crops - len(missing)}: {len(missing)} are missing, the first is "
            f"number {missing[0]}. Draw them with: python run_seg.py --config {cfg.filename} "
            f"--dataset_name {options.dataset_name} --source_preprocessed_path {crops.root} "
            f"--num {options.num_crops} --seed {options.seed}"
        )
