"""Replace the drawn source crops by the matched ones.

Legend: B images, n of them replaced, H×W pixels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mmseg.datasets.crop_store import CropStore
from mmseg.models.uda.base import UDABatch

THREADS = 4


class Replacement:
    """Crops that threads read and decode, while the device and this thread work on.

    Args:
        data: batch to replace images of.
        crops: as large as the batch's images.
        indices: number of the crop for each image; -1 keeps the image.
    """

    def __init__(self, data: UDABatch, crops: CropStore, indices: Sequence[int]) -> None:
        self.data, self.crops = data, crops
        self.positions = [position for position, index in enumerate(indices) if index >= 0]
        size = (len(self.positions), 4, *data.label.shape[2:])
        is_gpu = data.image.device.type == "cuda"  # pinned, it is copied while the device works
        self._bytes = torch.empty(size, dtype=torch.uint8, pin_memory=is_gpu)  # RGB and label
        with_threads = ThreadPoolExecutor(THREADS)
        places = zip(self._bytes.numpy(), (indices[p] for p in self.positions), strict=True)
        self._pending = [with_threads.submit(self._read, *place) for place in places]
        with_threads.shutdown(wait=False)  # they end with their work

    def batch(self) -> UDABatch:
        """Return the batch with some of its source images and labels replaced by crops.

        What went wrong in a thread is raised here.
        """
        for pending in self._pending:
            pending.result()
        sent = _send(self._bytes, self.data.image.device)
        image = self.data.normalization().from_bytes(sent[:, :3].to(self.data.image.dtype))
        label = sent[:, 3:].to(self.data.label.dtype)
        return replace(
            self.data,
            image=self._inserted(self.data.image, image),
            label=self._inserted(self.data.label, label),
        )

    def _read(self, target: np.ndarray, index: int) -> None:
        """Read a crop into (4, H, W) bytes."""
        bgr, label = self.crops.read(index)
        if label.shape != target.shape[1:]:
            raise ValueError(
                f"expected source crops of {target.shape[1:]} pixels, got {label.shape} for crop "
                f"{index} in '{self.crops.labels_path}'; run run_seg.py again with this config."
            )
        target[:3], target[3] = bgr[..., ::-1].transpose(2, 0, 1), label

    def _inserted(self, drawn: Tensor, matched: Tensor) -> Tensor:
        """Return (B, …) of the drawn images, with (n, …) of the matched crops in their places."""
        if len(matched) == len(drawn):
            return matched
        parts = list(drawn)
        for position, part in zip(self.positions, matched, strict=True):
            parts[position] = part
        return torch.stack(parts)


def _send(packed: Tensor, device: torch.device) -> Tensor:
    """Copy bytes to the device without waiting for the work that it still has to do."""
    return packed.to(device, non_blocking=True)
