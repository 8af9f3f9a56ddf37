"""Draw the source crops of a config and count their bank: what `run_seg.py` does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from tqdm import tqdm

from mmseg.config import Config
from mmseg.config.values import Seed
from mmseg.datasets import build_dataset
from mmseg.datasets.depth.fit import crop_warnings, source_depth_advice
from mmseg.datasets.depth.inspection import dataset_warnings
from mmseg.datasets.depth.record import find_record, recipe_hash
from mmseg.datasets.labels import CLASSES
from mmseg.datasets.short_names import usual_crops
from mmseg.preprocessing.count_bank import count_bank
from mmseg.preprocessing.crops import CropFolder, Mapped, draw_crop, each_item, write_crop
from mmseg.preprocessing.plan import Settings, check_disk, estimate, source_fingerprint
from mmseg.system.errors import ConfigError
from mmseg.system.files import atomic_write, require_writable
from mmseg.system.interruption import Interruption, Watch
from mmseg.system.options import check_values, option

Say = Callable[[str], object]  # takes the lines that a person should read


@dataclass(frozen=True)
class Options:
    """The choices of one preprocessing run; `num=None` takes the dataset's `NUM_CROPS`."""

    dataset_name: str = option("gta", "gta, synthia, or any with --num", names=("--dataset_name",))
    folder: Path = option(
        Path("preprocessed/gta_daformer"),
        "where crops and bank go",
        names=("--source_preprocessed_path",),
    )
    num: Annotated[int, Field(ge=1)] | None = option(
        None, "crops to draw (gta 24966, synthia 9400)"
    )
    workers: Annotated[int, Field(ge=0)] = option(
        0, "processes that draw", names=("--num-workers",)
    )
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


def preprocess(cfg: Config, options: Options, say: Say) -> Path | None:
    """Write the crops and the bank; return the bank's file, or None if it was not asked for.

    The source side of `cfg`, a training config, decides what a crop is.
    """
    _check(cfg, options, say)
    require_writable(options.folder)
    crops, num = CropFolder(options.folder), options.num_crops
    crops.remove_partials()
    with Interruption() as interruption:
        if options.draws_crops:
            _draw(cfg, options, crops, interruption, say)
        else:
            _require_all(cfg, options, crops)
            for warning in crop_warnings([crops.root], cfg.data.train["source"]["dep_dir"]):
                say(f"Warning: {warning}")
            say(f"Reusing the {num} crops in {crops.root}.")
        if options.counts_bank:
            watch = Watch(interruption, "crops of the statistics", num)
            bank = count_bank(crops, num, _num_classes(cfg), options.workers, watch)
            with atomic_write(options.bank_file) as file:
                torch.save(bank, file)
    crops.remove_partials()  # of workers that outlived a killed run for a moment
    if not options.counts_bank:
        return None
    say(f"Saved the statistics of {num} crops to {options.bank_file}.")
    return options.bank_file


def _check(cfg: Config, options: Options, say: Say) -> None:
    """Raise an error for choices that cannot be carried out; mention odd ones."""
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
    train: Mapping[str, Any] = cfg.get("data", {}).get("train", {})
    if "source" not in train:
        raise ConfigError(
            f"{cfg.filename}: expected data.train to be a UDADataset with a source, got "
            f"type {train.get('type')!r}. Choose the config that you want to train."
        )
    if not train["source"].get("dep_dir"):
        raise ConfigError(
            f"{cfg.filename}: expected data.train.source.dep_dir, got none. "
            f"{source_depth_advice(train['source'])}"
        )
    uda: Mapping[str, Any] = cfg.get("uda") or {}
    wanted = uda.get("dataset") or options.dataset_name
    if wanted.lower() != options.dataset_name.lower():
        raise ValueError(
            f"expected --dataset_name {wanted} for {cfg.filename}, got "
            f"{options.dataset_name!r}. Change one of them."
        )
    reads = uda.get("matrix_path")
    if reads and options.counts_bank and Path(reads) != options.bank_file:
        say(f"Note: {cfg.filename} reads {reads}, but this run writes {options.bank_file}.")


def _num_classes(cfg: Config) -> int:
    """Return how many classes the network of a config distinguishes."""
    head = (cfg.get("model") or {}).get("decode_head") or {}
    return head.get("num_classes") or len(CLASSES)


def _draw(
    cfg: Config, options: Options, crops: CropFolder, interruption: Interruption, say: Say
) -> None:
    """Draw every missing crop."""
    dataset = build_dataset(cfg.data.train)
    for warning in dataset_warnings(dataset):
        say(f"Warning: {warning}")
    settings = Settings(
        dataset_name=options.dataset_name,
        source=source_fingerprint(cfg.data.train, dataset),
        seed=options.seed,
        num=options.num_crops,
        crop_size=draw_crop(dataset, options.seed, 0)["labels"].shape,
        depth_recipe=recipe_hash(find_record(cfg.data.train["source"]["dep_dir"])),
    )
    settings.check(crops)
    todo = crops.missing(options.num_crops)
    if not todo:
        say(f"All {options.num_crops} crops are in {crops.root} already.")
        return
    if len(todo) < options.num_crops:
        done = options.num_crops - len(todo)
        say(f"{done} of {options.num_crops} crops are in {crops.root} already; drawing the others.")
    bank_size = (options.num_crops if options.counts_bank else 0, _num_classes(cfg))
    ahead = estimate(dataset, options.seed, len(todo), bank_size, options.workers)
    statistics = f" and the statistics of {bank_size[0]}" if options.counts_bank else ""
    say(f"Writing {ahead} to {crops.root}: {len(todo)} crops{statistics}.")
    check_disk(crops, ahead.bytes)
    if crops.is_empty():  # otherwise keep the settings of the first crops
        settings.write(crops)
    write = partial(write_crop, dataset, crops, options.seed)
    written = each_item(Mapped(write, todo), options.workers)
    watch = Watch(interruption, "crops", len(todo))
    for _ in tqdm(watch(written), total=len(todo), desc="crops", unit="crop"):
        pass


def _require_all(cfg: Config, options: Options, crops: CropFolder) -> None:
    """Raise `FileNotFoundError` unless every crop is on disk."""
    if missing := crops.missing(options.num_crops):
        raise FileNotFoundError(
            f"expected {options.num_crops} crops in {crops.root}, got "
            f"{options.num_crops - len(missing)}: {len(missing)} are missing, the first is number "
            f"{missing[0]}. Draw them with: python run_seg.py "
            f"--config {cfg.filename} --dataset_name {options.dataset_name} "
            f"--source_preprocessed_path {crops.root} --num {options.num_crops} "
            f"--seed {options.seed}"
        )
