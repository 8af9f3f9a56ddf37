"""Replace the drawn source crops by the matched ones.

Legend: B images, H×W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mmseg.datasets.crop_store import CropStore
from mmseg.models.uda.base import UDABatch


def replace_source(data: UDABatch, crops: CropStore, indices: Sequence[int]) -> UDABatch:
    """Return the batch with some of its source images and labels replaced by crops.

    Args:
        data: batch.
        crops: as large as the batch's images.
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
    """Copy an array to the device without waiting for the work that it still has to do."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
