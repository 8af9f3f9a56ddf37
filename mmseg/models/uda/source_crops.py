"""CDDA's source crops and their depth statistics: load them, see that they fit, and use them.

Legend: B images, M source crops, C classes, D = 256 depth bins.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmseg.datasets.crop_store import CropStore
from mmseg.models.uda.base import UDABatch
from mmseg.models.uda.depthmetric import DepthMetric, load_bank
from mmseg.models.uda.settings import DACSSettings
from mmseg.system.errors import ConfigError

COMPARED_CROPS = 8


def build_depth_metric(s: DACSSettings, num_classes: int) -> tuple[DepthMetric, CropStore]:
    """Load the bank and find its crops, or end the run with what is wrong."""
    assert s.matrix_path and s.dataset and s.croped_images_path and s.croped_labels_path
    assert s.reweight_threshold is not None and s.relabel_threshold is not None
    bank = load_bank(s.matrix_path, s.dataset)
    command = _command(s, len(bank))
    if bank.shape[1] != num_classes:
        raise ConfigError(
            f"'{s.matrix_path}': expected {num_classes} classes as in the network, got "
            f"{bank.shape[1]}; do make it again with this config: {command}"
        )
    _check_counts(bank, s.matrix_path, command)
    crops = CropStore(s.croped_images_path, s.croped_labels_path, num_classes, command)
    crops.verify(len(bank))  # more crops than rows are fine: the original program left two more
    _compare(bank, crops, s.matrix_path, command)
    metric = DepthMetric(
        bank,
        s.dataset,
        reweight_threshold=s.reweight_threshold,
        relabel_threshold=s.relabel_threshold,
        threshold_decay=s.threshold_decay,
        reference_quirks=s.reference_quirks,
    )
    return metric, crops


def replace_source(data: UDABatch, crops: CropStore, indices: Sequence[int]) -> UDABatch:
    """Return the batch with some of its source images and labels replaced by crops.

    Args:
        data: batch.
        crops: of the size of the batch's images.
        indices: number of the crop for each image; -1 keeps the image.
    """
    images, labels = list(data.image), list(data.label)
    normalization = data.normalization()
    for position, index in enumerate(indices):
        if index < 0:
            continue
        bgr, label = crops.read(index)
        if label.shape != labels[position].shape[1:]:
            raise ValueError(
                f"expected source crops of {tuple(labels[position].shape[1:])} pixels, got "
                f"{label.shape} for crop {index} in '{crops.labels_path}'; run run_seg.py again "
                "with this config."
            )
        rgb = _send(bgr[..., ::-1].copy(), data.image.device).permute(2, 0, 1)
        images[position] = normalization.from_bytes(rgb.to(data.image.dtype))
        labels[position] = _send(label, data.label.device).to(data.label.dtype)[None]
    return replace(data, image=torch.stack(images), label=torch.stack(labels))


def _send(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to the device without waiting for what the device still has to do."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _command(s: DACSSettings, num: int) -> str:
    """Return the command that makes bank and crops together."""
    folder = Path(s.croped_images_path or "…").parent
    return (
        f"python run_seg.py --config <this config> --dataset_name {s.dataset} "
        f"--source_preprocessed_path '{folder}'" + (f" --num {num}" if num else "")
    )


def _check_counts(bank: Tensor, path: str, command: str) -> None:
    """Raise unless the bank (M, C, D) holds at least one crop and only counts."""
    if not len(bank):
        raise ConfigError(
            f"'{path}': expected the statistics of at least one crop, got none; do make them "
            f"again with: {command}"
        )
    low, high = torch.aminmax(bank)  # NaN if any is
    if not (low >= 0 and torch.isfinite(high)):
        crop = int((~(torch.isfinite(bank) & (bank >= 0))).flatten(1).any(1).nonzero()[0])
        raise ConfigError(
            f"'{path}': expected numbers of pixels, got values from {low:g} to {high:g}, the first "
            f"wrong one for crop {crop}; do make the statistics again with: {command}"
        )


def _compare(bank: Tensor, crops: CropStore, path: str, command: str) -> None:
    """Raise unless a few crops, spread over the folder, have the class pixels that the bank states.

    A bank of another run differs in nearly every crop. Half of them has to, because single crops
    that were exchanged by hand do no harm.
    """
    numbers = np.unique(np.linspace(0, len(bank) - 1, COMPARED_CROPS).astype(int)).tolist()
    shapes, wrong = {}, []
    for index in numbers:
        _, label = crops.read(index)
        shapes.setdefault(label.shape, index)
        found = torch.from_numpy(np.bincount(label.ravel(), minlength=256)[: bank.shape[1]])
        stated = bank[index].double().sum(1)
        if differing := (found != stated).nonzero().flatten().tolist():
            c = differing[0]
            wrong.append(f"crop {index} has {int(found[c])} pixels of class {c}, not {stated[c]:g}")
    if 2 * len(wrong) >= len(numbers):
        raise ConfigError(
            f"expected '{path}' to be the statistics of the crops in '{crops.labels_path}', got "
            f"those of others: {wrong[0]}; do let uda.matrix_path, uda.croped_images_path and "
            f"uda.croped_labels_path name files of one run of: {command}"
        )
    if len(shapes) > 1:
        listed = ", ".join(f"{w}x{h} (crop {i})" for (h, w), i in shapes.items())
        raise ConfigError(
            f"expected source crops of one size in '{crops.labels_path}', got {listed}; do make "
            f"them again with: {command}"
        )
