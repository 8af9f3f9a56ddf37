"""Draw the source crops of a config and count their bank: what `run_seg.py` does."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from mmseg.config import Config
from mmseg.config.run_config import read_parts
from mmseg.datasets import build_dataset
from mmseg.datasets.depth.fit import crop_warnings
from mmseg.datasets.depth.inspection import dataset_warnings
from mmseg.datasets.depth.record import find_record, recipe_hash
from mmseg.datasets.loader import Mapped, each_item
from mmseg.preprocessing.choices import CropConfig, Options, check_choices, read_crop_config
from mmseg.preprocessing.count_bank import count_written, draw_and_count, empty_bank, fill
from mmseg.preprocessing.crops import PARTS, CropFolder, draw_crop
from mmseg.preprocessing.plan import Settings, check_disk, estimate, source_fingerprint
from mmseg.system.files import atomic_write, require_writable
from mmseg.system.folder_lock import only_writer
from mmseg.system.interruption import Interruption, Watch
from mmseg.system.outputs import check_output_folder, data_folders

Say = Callable[[str], object]  # takes the lines that a person should read


def preprocess(cfg: Config, options: Options, say: Say) -> Path | None:
    """Write the crops and the bank; return the bank's file, or None if it was not asked for.

    The source side of `cfg`, a training config, decides what a crop is.
    """
    crop_config = read_crop_config(cfg)
    options = options.completed(crop_config)
    check_choices(crop_config, options)
    data = [folder for part in read_parts(cfg).data.sections for folder in data_folders(part)]
    for part in PARTS:
        check_output_folder(options.root / part, data, "a folder of crops")
    with only_writer(options.root), Interruption() as interruption:
        return _preprocess(crop_config, options, interruption, say)


def _preprocess(
    cfg: CropConfig, options: Options, interruption: Interruption, say: Say
) -> Path | None:
    """Write what is missing."""
    require_writable(options.root)
    crops, num = CropFolder(options.root), options.num_crops
    crops.remove_partials()
    with ExitStack() as exits:
        bank = None
        if options.counts_bank:
            bank = exits.enter_context(empty_bank(options.root, num, cfg.num_classes))
        drawn: list[int] = []
        if options.draws_crops:
            drawn = _draw(cfg, options, crops, interruption, say, bank)
        else:
            _require_all(cfg, options, crops)
            for warning in crop_warnings([crops.root], cfg.depth_folder):
                say(f"Warning: {warning}")
            say(f"Reusing the {num} crops in {crops.root}.")
        if bank is not None:
            written = sorted(set(range(num)).difference(drawn))
            watch = Watch(interruption, "crops of the statistics", len(written))
            count_written(bank, crops, written, options.workers, watch)
            with atomic_write(options.bank_file) as file:
                torch.save(bank, file)
    crops.remove_partials()  # of workers that outlived a killed run for a moment
    if not options.counts_bank:
        return None
    say(f"Saved the statistics of {num} crops to {options.bank_file}.")
    return options.bank_file


def _draw(
    cfg: CropConfig,
    options: Options,
    crops: CropFolder,
    interruption: Interruption,
    say: Say,
    bank: torch.Tensor | None,
) -> list[int]:
    """Draw every missing crop, count it into the bank (M, C, D), and return their numbers."""
    dataset = build_dataset(cfg.train)
    for warning in dataset_warnings(dataset):
        say(f"Warning: {warning}")
    settings = Settings(
        dataset_name=str(options.dataset_name),
        source=source_fingerprint(cfg.train, dataset),
        seed=options.seed,
        num=options.num_crops,
        crop_size=draw_crop(dataset, options.seed, 0)["labels"].shape,
        depth_recipe=recipe_hash(find_record(cfg.depth_folder)),
    )
    settings.check(crops)
    todo = crops.missing(options.num_crops)
    if not todo:
        say(f"All {options.num_crops} crops are in {crops.root} already.")
        return []
    if len(todo) < options.num_crops:
        done = options.num_crops - len(todo)
        say(f"{done} of {options.num_crops} crops are in {crops.root} already; drawing the others.")
    bank_size = (options.num_crops if options.counts_bank else 0, cfg.num_classes)
    ahead = estimate(dataset, options.seed, len(todo), bank_size, options.workers)
    statistics = f" and the statistics of {bank_size[0]}" if options.counts_bank else ""
    say(f"Writing {ahead} to {crops.root}: {len(todo)} crops{statistics}.")
    check_disk(crops, ahead.bytes)
    if crops.is_empty():  # otherwise keep the settings of the first crops
        settings.write(crops)
    draw = partial(draw_and_count, dataset, crops, options.seed, cfg.num_classes)
    watch = Watch(interruption, "crops", len(todo))
    fill(bank, todo, watch(each_item(Mapped(draw, todo), options.workers)), "crops")
    return todo


def _require_all(cfg: CropConfig, options: Options, crops: CropFolder) -> None:
    """Raise `FileNotFoundError` unless every crop is on disk."""
    if missing := crops.missing(options.num_crops):
        raise FileNotFoundError(
            f"expected {options.num_crops} crops in {crops.root}, got "
            f"{options.num_crops - len(missing)}: {len(missing)} are missing, the first is number "
            f"{missing[0]}. Draw them with: python run_seg.py "
            f"--config {cfg.file} --dataset_name {options.dataset_name} "
            f"--source_preprocessed_path {crops.root} --num {options.num_crops} "
            f"--seed {options.seed}"
        )
