"""Image files -> what the network takes; this runs in worker processes."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from mmseg.datasets.image_files import read_color
from mmseg.preprocessing.depth_maps.inputs import InputRule
from mmseg.system.errors import is_for_user


@dataclass(frozen=True)
class Picture:
    """One image, ready for the network.

    number: of the image; pixels: (3, h, w) float32; size: (H, W) of the image itself.
    """

    number: int
    pixels: Tensor
    size: tuple[int, int]

    def pin_memory(self) -> "Picture":
        """Return a copy in pinned memory; the loader calls it."""
        return replace(self, pixels=self.pixels.pin_memory())


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be used, and why."""

    number: int
    reason: str


class Pictures(Dataset):
    """Item k is image k, read as training reads it (three 8-bit channels) and resized."""

    def __init__(self, images: Sequence[Path], rule: InputRule) -> None:
        self.images, self.rule = images, rule

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Picture | Unreadable:
        path = self.images[number]
        try:
            image = read_color(path)  # (H, W, 3) uint8
            pixels = self.rule.pixels(image)  # (3, h, w) float32
        except (OSError, ValueError) as error:
            if not is_for_user(error):
                raise
            return Unreadable(number, str(error))
        except (MemoryError, cv2.error) as error:
            reason = str(error).strip().splitlines()[-1:] or ["the memory is full"]
            return Unreadable(number, _too_large(path, reason[0]))
        height, width = image.shape[:2]
        return Picture(number, _shared(torch.from_numpy(pixels)), (height, width))


def _shared(pixels: Tensor) -> Tensor:
    """Move a worker's pixels to where the main process can take them without a copy.

    The loader would do it in a thread of its own, whose errors leave the main process waiting.
    """
    if get_worker_info() is None:
        return pixels
    try:
        return pixels.share_memory_()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(
            errno.ENOMEM,
            f"expected {pixels.nbytes} bytes of shared memory for an image, got: {reason}; do use "
            "a smaller --num-workers, or more shared memory (of a container: docker run "
            "--shm-size), and start the same command again.",
        ) from error


def _too_large(path: Path, reason: str) -> str:
    """Say that an image cannot be resized, such as a strip whose shorter side is one pixel."""
    return f"expected an image that can be resized at '{path}', got: {reason}; do cut or scale it."
