"""Load the source crops and their bank, and check that they belong together.

Legend: M source crops, C classes, D = 256 depth bins (0…255).
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from mmseg.datasets.crop_store import CropStore
from mmseg.datasets.depth.bank_files import mapped_rows, read_rows
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.settings import DACSSettings
from mmseg.system.errors import ConfigError

COMPARED_CROPS = 8


def load_source_crops(s: DACSSettings, num_classes: int) -> tuple[Bank, CropStore]:
    """Return the bank and its crops.

    Raises:
        ConfigError, FileNotFoundError, ValueError: if they do not fit the config or the network.
    """
    assert s.matrix_path and s.dataset and s.croped_images_path and s.croped_labels_path
    make = partial(read_rows, s.matrix_path, s.dataset, partial(_command, s))
    bank = Bank(mapped_rows(s.matrix_path, make) if s.matrix_mmap else make())
    command = _command(s, len(bank))
    if bank.num_classes != num_classes:
        raise ConfigError(
            f"'{s.matrix_path}': expected {num_classes} classes as in the network, got "
            f"{bank.num_classes}. Make it again with this config: {command}"
        )
    crops = CropStore(s.croped_images_path, s.croped_labels_path, num_classes, command)
    crops.verify(len(bank))  # extra crops are fine: the original program left two
    _compare(bank, crops, s.matrix_path, command)
    return bank, crops


def _command(s: DACSSettings, num_crops: int) -> str:
    """Return the command that makes crops and bank."""
    command = (
        f"python run_seg.py --config <this config> --dataset_name {s.dataset} "
        f"--source_preprocessed_path '{Path(str(s.croped_images_path)).parent}'"
    )
    return command + (f" --num {num_crops}" if num_crops else "")


def _compare(bank: Bank, crops: CropStore, path: str, command: str) -> None:
    """Raise unless a few crops, spread over the folder, have the class pixels that the bank states.

    The bank of another run differs for nearly all crops; half of them are enough to raise, and a
    few that were replaced by hand do no harm.
    """
    numbers = np.unique(np.linspace(0, len(bank) - 1, COMPARED_CROPS).astype(int)).tolist()
    shapes, wrong = {}, []
    for index in numbers:
        _, label = crops.read(index)
        shapes.setdefault(label.shape, index)
        found = torch.from_numpy(np.bincount(label.ravel(), minlength=256)[: bank.num_classes])
        stated = bank.sizes[:, index]
        for c in (found != stated).nonzero().flatten().tolist()[:1]:
            wrong.append(f"crop {index} has {int(found[c])} pixels of class {c}, not {stated[c]:g}")
    if 2 * len(wrong) >= len(numbers):
        raise ConfigError(
            f"expected '{path}' to be the statistics of the crops in '{crops.labels_path}', got "
            f"those of others: {wrong[0]}. Let uda.matrix_path, uda.croped_images_path and "
            f"uda.croped_labels_path name files of one run of: {command}"
        )
    if len(shapes) > 1:
        listed = ", ".join(f"{w}x{h} (crop {i})" for (h, w), i in shapes.items())
        raise ConfigError(
            f"expected source crops of one size in '{crops.labels_path}', got {listed}. Make "
            f"them again with: {command}"
        )
