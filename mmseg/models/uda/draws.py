"""Every random choice of a training iteration, in one object.

The choices are a pure function of (seed, iteration, rank), so an interrupted run makes the same
ones. Tests and studies subclass `Draws` to fix a choice.

Legend: B images, C classes, H×W pixels.
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.system.device_copies import send
from mmseg.system.processes import all_reduce_max


class JitterStep(IntEnum):
    """A step of the color jitter; the numbers are those that the order of the steps is drawn in."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3


@dataclass(frozen=True)
class ImageAugmentation:
    """Factors of one image's color jitter and blur.

    `brightness` - 1 is added to RGB in [0, 1], `contrast` and `saturation` multiply, `hue` is a
    share of the color circle. `order` lists the steps of the jitter as they are applied.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: tuple[int, ...]  # of `JitterStep`
    sigma: float  # of the blur, pixels


@dataclass(frozen=True)
class Augmentation:
    """The random part of an augmentation; by default, nothing is augmented.

    `jitter_draw` and `blur_draw` in [0, 1) are drawn once per batch and compared with the method's
    probabilities; `entropy` determines the factors of each image.
    """

    jitter_draw: float = 0.0
    blur_draw: float = 0.0
    entropy: tuple[int, ...] = (0,)

    def image(self, index: int, strength: float) -> ImageAugmentation:
        """Return the factors of image `index`: 1 ± strength, hue 0 ± strength, σ 0.15…1.15."""
        rng = np.random.default_rng((*self.entropy, index))
        brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).tolist()
        return ImageAugmentation(
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=float(rng.uniform(-strength, strength)),
            order=_jitter_order(rng),
            sigma=float(rng.uniform(0.15, 1.15)),
        )

    def shared(self) -> tuple[tuple[int, ...], float]:
        """Return the order of the jitter and σ for a batch whose images share them (MIC)."""
        rng = np.random.default_rng((*self.entropy, zlib.crc32(b"shared")))
        return _jitter_order(rng), float(rng.uniform(0.15, 1.15))


@dataclass(frozen=True)
class ImageJitter:
    """What happens to one image on its own: color jitter, then gray, then blur."""

    steps: tuple[tuple[int, float], ...] = ()  # (`JitterStep`, factor) as they are applied
    is_gray: bool = False
    sigma: float | None = None  # of the blur, pixels; None does not blur


@dataclass(frozen=True)
class JitterKind:
    """How images are jittered, each with its own draws (of torchvision's transforms).

    A factor of brightness, contrast or saturation lies in [max(0, 1 - value), 1 + value], the hue
    moves by at most `hue` turns.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    jitter: float  # probability of the jitter
    gray: float = 0.0  # probability of gray
    blur: float = 0.0  # probability of the blur
    sigma: tuple[float, float] = (0.15, 1.15)

    def draw(self, rng: np.random.Generator) -> ImageJitter:
        """Draw what happens to an image."""
        spans = [(max(0.0, 1 - v), 1 + v) for v in (self.brightness, self.contrast)]
        spans += [(max(0.0, 1 - self.saturation), 1 + self.saturation), (-self.hue, self.hue)]
        factors = [float(rng.uniform(*span)) for span in spans]  # in the order of `JitterStep`
        order, sigma = _jitter_order(rng), float(rng.uniform(*self.sigma))
        jitter, gray, blur = rng.random(3).tolist()
        steps = tuple((step, factors[step]) for step in order) if jitter < self.jitter else ()
        return ImageJitter(steps, gray < self.gray, sigma if blur < self.blur else None)


def _jitter_order(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(JitterStep(index) for index in rng.permutation(len(JitterStep)))


@dataclass(eq=False)
class Draws:
    """The random choices of one iteration on one process."""

    seed: int = 0  # of the run
    iteration: int = 0
    rank: int = 0
    num_classes: int = 19  # C
    device: torch.device | str = "cpu"  # where masks are upsampled
    shares_classes: bool = False  # `mix_classes` chooses from the classes of all processes

    def stream(self, purpose: str) -> np.random.Generator:
        """Return the generator for one kind of choice, which no other kind affects."""
        streams: dict[str, np.random.Generator] = self.__dict__.setdefault("_streams", {})
        if purpose not in streams:
            streams[purpose] = np.random.default_rng(self._entropy(purpose))
        return streams[purpose]

    def torch_seed(self) -> int:
        """Return the seed of dropout and stochastic depth in this iteration."""
        return int(np.random.default_rng(self._entropy("torch")).integers(2**63))

    def crop_box(
        self, height: int, width: int, crop_size: tuple[int, int], divisible: int
    ) -> tuple[int, int, int, int]:
        """Draw HRDA's detail window (y1, y2, x1, x2); offsets are multiples of `divisible`."""
        rng = self.stream("crop_box")
        offsets = []
        for size, crop in zip((height, width), crop_size, strict=True):
            choices = (max(size - crop, 0) + 1) // divisible
            offsets.append(divisible * int(rng.integers(choices)) if choices > 0 else 0)
        (y, x), (crop_height, crop_width) = offsets, crop_size
        return y, y + crop_height, x, x + crop_width

    def mix_classes(self, labels: Tensor) -> Tensor:
        """Choose for each image half (rounded up) of the classes in the whole batch of labels.

        The labels are (B, 1, H, W) or (B, H, W) int64, the choice is (B, C+1) bool; column C
        stands for 255, which counts as a class. With `shares_classes`, the batch is that of all
        processes together.
        """
        columns = self.num_classes + 1
        flat = labels.flatten().clamp(max=self.num_classes)
        found = torch.zeros(columns, device=labels.device)
        found.scatter_(0, flat, 1.0)  # `unique` would wait for the device
        if self.shares_classes:
            all_reduce_max(found)
        scores = self.stream("mix_classes").random((len(labels), columns), dtype=np.float32)
        scores = send(scores + 1, labels.device) * found
        rank = scores.argsort(1, descending=True).argsort(1)
        return rank < (found.sum() + 1).div(2, rounding_mode="floor")

    def augmentation(self) -> Augmentation:
        """Draw whether and how a batch of images is jittered and blurred."""
        rng = self.stream("augmentation")
        jitter, blur = rng.random(2).tolist()
        return Augmentation(jitter, blur, tuple(rng.integers(2**32, size=2).tolist()))

    def image_jitters(self, purpose: str, kind: JitterKind, count: int) -> list[ImageJitter]:
        """Draw what happens to each of `count` images; the same whenever it is asked for."""
        entropy = self._entropy(purpose)
        return [kind.draw(np.random.default_rng((*entropy, index))) for index in range(count)]

    def block_mask(
        self, batch: int, height: int, width: int, mask_ratio: float, block_size: int
    ) -> Tensor:
        """Draw MIC's (B, 1, H, W) mask of 0 (hidden) and 1 (kept), constant in each block."""
        grid = round(height / block_size), round(width / block_size)
        kept = self.keep_grid(batch, *grid, mask_ratio)
        return F.interpolate(kept, (height, width), mode="nearest")

    def keep_grid(self, batch: int, rows: int, columns: int, mask_ratio: float) -> Tensor:
        """Draw which cells of a grid are kept (1) and which are hidden (0): (B, 1, rows, columns).

        Each is hidden with probability `mask_ratio`.
        """
        size = (batch, 1, rows, columns)
        drawn = self.stream("block_mask").random(size, dtype=np.float32) > mask_ratio
        return send(drawn.astype(np.float32), self.device)

    def _entropy(self, purpose: str) -> tuple[int, ...]:
        return self.seed, self.iteration, self.rank, zlib.crc32(purpose.encode())
