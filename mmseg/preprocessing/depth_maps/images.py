"""Image files -> batches of one size of what a network takes; worker processes read them.

Legend: B images of H×W pixels, h×w network input.
"""

import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mmseg.datasets.image_files import opened, read_color
from mmseg.datasets.loader import each_item
from mmseg.preprocessing.depth_maps.jobs import Job
from mmseg.system.errors import is_for_user
from mmseg.system.files import refuse_endless
from mmseg.system.workers import in_shared_memory

RESAMPLE = {0: "nearest", 2: "linear", 3: "cubic"}  # Pillow's numbers, which the settings hold
ROUNDINGS = {"nearest": round, "down": math.floor, "up": math.ceil}
NO_SETTINGS = (AttributeError, LookupError, TypeError, ValueError, ZeroDivisionError)
NO_HEADER = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputRule:
    """How a picture becomes a network's input; by default, that of Depth Anything.

    fit: to `size`, (height, width). With its aspect ratio, 'cover' is at least as large, 'closest'
        as high or as wide, whichever changes the picture less; 'stretch' is of `size`, 'own' keeps
        the size. Then both sides become multiples; 'cover' never rounds below `size`.
    """

    fit: str = "cover"
    size: tuple[int, int] = (518, 518)
    multiple: int = 14
    rounding: str = "nearest"
    interpolation: str = "cubic"
    divisor: float = 255.0
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width of the input for a picture's."""
        scales = self.size[0] / height, self.size[1] / width
        if self.fit == "cover":
            scales = (max(scales),) * 2
        elif self.fit == "closest":
            scales = (min(scales, key=lambda scale: abs(1 - scale)),) * 2
        elif self.fit == "own":
            scales = (1.0, 1.0)
        return self._rounded(height * scales[0], 0), self._rounded(width * scales[1], 1)

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """Turn a picture (H, W, 3) uint8, BGR, into an input (3, h, w) float32, RGB."""
        height, width = self.size_for(*image.shape[:2])
        values = np.divide(image, np.float32(self.divisor), dtype=np.float32)
        method = getattr(cv2, f"INTER_{self.interpolation.upper()}")  # without anti-aliasing
        values = cv2.resize(values, (width, height), interpolation=method)
        mean, std = np.array((self.mean, self.std), np.float32)
        values = (values[..., ::-1] - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def _rounded(self, side: float, axis: int) -> int:
        # Scaling leaves a last digit: 36.9999999 is 37, also when it is rounded down.
        count = ROUNDINGS[self.rounding](round(side / self.multiple, 6))
        least = self.size[axis] if self.fit == "cover" else 1
        return max(count, math.ceil(least / self.multiple)) * self.multiple


def read_rule(file: Path, is_depth_anything: bool) -> InputRule:
    """Read a `preprocessor_config.json`, which Depth Anything does without, or raise a sentence."""
    if not file.is_file():
        if is_depth_anything:
            return InputRule()
        raise FileNotFoundError(
            f"expected {file.name} in '{file.parent}', got a folder without it; copy it from where "
            "the model is from: only Depth Anything's input is known without it."
        )
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        rescales = settings.get("do_rescale", True)
        return InputRule(
            *_fit(settings, covers=is_depth_anything),  # whatever its file says
            *_multiple(settings),
            RESAMPLE[settings.get("resample", 3)],
            # 255 also where the file holds few digits of 1 / 255.
            round(1 / settings.get("rescale_factor", 1 / 255), 6) if rescales else 1.0,
            *_normalization(settings),
        )
    except NO_SETTINGS as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"expected the settings of an image processor (size, image_mean, …) in '{file}', got: "
            f"{reason}; copy the file again from where the model is from."
        ) from error


def _fit(settings: Mapping[str, Any], covers: bool) -> tuple[str, tuple[int, int]]:
    size = settings.get("size")
    if size is None or not settings.get("do_resize", True):
        return "own", (1, 1)
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if "shortest_edge" in size:
        size, covers = dict.fromkeys(("height", "width"), size["shortest_edge"]), True
    box = int(size["height"]), int(size["width"])
    if min(box) < 1:
        raise ValueError(f"size {box}")
    return "cover" if covers else "closest" if settings.get("keep_aspect_ratio") else "stretch", box


def _multiple(settings: Mapping[str, Any]) -> tuple[int, str]:
    divisor, pads = settings.get("size_divisor"), settings.get("do_pad")
    if divisor and pads is not False:
        # Where the image processor pads, the picture is enlarged: the map has no border to cut off.
        return int(divisor), "up" if pads else "down"
    multiple = int(settings.get("ensure_multiple_of") or 1)
    if multiple < 1:
        raise ValueError(f"ensure_multiple_of {multiple}")
    return multiple, "nearest"


def _normalization(settings: Mapping[str, Any]) -> tuple[Triple, Triple]:
    if not settings.get("do_normalize", "image_mean" in settings):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    (r, g, b), (red, green, blue) = settings["image_mean"], settings["image_std"]
    if not min(red, green, blue) > 0:
        raise ValueError(f"image_std {settings['image_std']}")
    return (float(r), float(g), float(b)), (float(red), float(green), float(blue))


class Batch(NamedTuple):
    """Images of one size (H, W), as an input (B, 3, h, w) float32; a tuple is pinned as it is."""

    jobs: list[Job]
    pixels: Tensor
    size: tuple[int, int]


class ImageGroups(Dataset[list[Batch | str]]):
    """Item k holds a batch of `groups[k]` (or more: photographs may be turned), and sentences."""

    def __init__(self, groups: Sequence[list[Job]], rule: InputRule) -> None:
        self.groups, self.rule = groups, rule

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> list[Batch | str]:
        parts: list[Batch | str] = []
        read: dict[tuple[int, int], list[tuple[Job, Tensor]]] = {}
        for job in self.groups[number]:
            try:
                image = read_color(job.image)  # as training: (H, W, 3) uint8
                pixels = torch.from_numpy(self.rule.pixels(image))
            except (OSError, ValueError) as error:
                if not is_for_user(error):
                    raise
                parts.append(str(error))
            except (MemoryError, cv2.error) as error:  # such as a strip of one pixel's height
                reason = (str(error).strip() or "the memory is full").splitlines()[-1]
                parts.append(
                    f"expected an image that can be resized at '{job.image}', got: {reason}; cut "
                    "or scale it."
                )
            else:
                read.setdefault((image.shape[0], image.shape[1]), []).append((job, pixels))
        for size, items in read.items():
            jobs, inputs = zip(*items, strict=True)
            parts.append(Batch(list(jobs), in_shared_memory(torch.stack(inputs)), size))
        return parts


def read_batches(
    jobs: Sequence[Job], rule: InputRule, batch_size: int, workers: int, pin_memory: bool
) -> Generator[Batch | str, None, None]:
    """Yield all images in batches of one size, and a sentence for each that is broken."""
    groups = list(_groups(jobs, batch_size))
    for parts in each_item(ImageGroups(groups, rule), min(workers, len(groups)), pin_memory):
        yield from parts


def _groups(jobs: Sequence[Job], batch_size: int) -> Iterator[list[Job]]:
    """Yield groups of jobs whose images have one size, as they become full."""
    groups: dict[tuple[int, int] | None, list[Job]] = {}
    for job in jobs:
        size = None  # of images that are broken, too
        with suppress(*NO_HEADER):
            refuse_endless(job.image, "an image file")
            with Image.open(opened(job.image)) as picture:
                size = picture.size
        groups.setdefault(size, []).append(job)
        if len(groups[size]) == batch_size:
            yield groups.pop(size)
    yield from groups.values()
