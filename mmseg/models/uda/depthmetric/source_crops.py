"""Load the source crops and their bank, and check that they belong together.

Legend: M source crops, C classes, D = 256 depth bins (0…255).
"""

from functools import partial
from pathlib import Path

from mmseg.datasets.crop_store import CropStore, require_counts
from mmseg.datasets.depth.bank_files import mapped_rows, read_rows
from mmseg.models.uda.depthmetric.bank import Bank
from mmseg.models.uda.settings import DACSSettings
from mmseg.system.errors import ConfigError


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
    require_counts(crops, bank.sizes.numpy(), s.matrix_path, command)
    return bank, crops


def _command(s: DACSSettings, num_crops: int) -> str:
    """Return the command that makes crops and bank."""
    folder = Path(str(s.croped_images_path)).parent
    command = f"python run_seg.py --config <this config> --dataset_name {s.dataset} "
    command += f"--source_preprocessed_path '{folder}'"
    return command + (f" --num {num_crops}" if num_crops else "")
