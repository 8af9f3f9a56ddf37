"""Label any image with a trained network.

Legend: C classes, H×W pixels of the image, h×w pixels for which the network's scores are computed.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from mmseg.apis.predicting.loading import load_network
from mmseg.config import Config
from mmseg.config.sections import each
from mmseg.datasets import collate
from mmseg.datasets.image_files import read_color
from mmseg.datasets.labels import PALETTE, Palette, distinct_colors
from mmseg.datasets.pipelines import Compose, start_results
from mmseg.datasets.pipelines.fields import as_scales
from mmseg.system.errors import ConfigError
from mmseg.visualization.palettes import blend, colorize

AUGMENTATION = {"img_ratios": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75], "flip": True}
VIEWS = "MultiScaleFlipAug"


@dataclass(frozen=True)
class Segmentation:
    """What a network says of one image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        scores: (C, h, w) float32 in [0, 1], the probability of each class; smaller than the image
            if `max_side` was.
        classes: names of the C classes.
        palette: their RGB colors.
    """

    image: np.ndarray
    scores: np.ndarray
    classes: Sequence[str]
    palette: Palette

    @cached_property
    def ids(self) -> np.ndarray:
        """The class of each pixel, (H, W) uint8."""
        return self._enlarged(self.scores.argmax(0).astype(np.uint8), cv2.INTER_NEAREST)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the class of each pixel, (H, W) float32 in [0, 1]."""
        return self._enlarged(self.scores.max(0), cv2.INTER_LINEAR)

    @cached_property
    def probability(self) -> np.ndarray:
        """The probability of each class, (C, H, W) float32 in [0, 1]."""
        return np.stack([self._enlarged(score, cv2.INTER_LINEAR) for score in self.scores])

    @property
    def colors(self) -> np.ndarray:
        """The labels in the colors of their classes, (H, W, 3) uint8 RGB."""
        return colorize(self.ids, self.palette)

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Return the colored labels over the image, (H, W, 3) uint8 RGB."""
        return blend(self.image, self.ids, opacity, self.palette)

    def _enlarged(self, values: np.ndarray, how: int) -> np.ndarray:
        height, width = self.image.shape[:2]
        return (
            values
            if values.shape == (height, width)
            else cv2.resize(values, (width, height), interpolation=how)
        )


class Segmenter:
    """Labels images: `Segmenter('work_dirs/RUN')('street.jpg').overlay()`.

    Args:
        checkpoint, config, device, network: as for `load_network`.
        max_side: at most so many pixels of the longer side of an image are looked at, to need less
            memory; the labels still have the size of the image.
        aug_test: average over six sizes, each also mirrored.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: str | Path | Config | None = None,
        device: str | torch.device | None = None,
        network: str = "student",
        max_side: int | None = None,
        aug_test: bool = False,
    ) -> None:
        if max_side is not None and max_side < 1:
            raise ConfigError(f"expected a positive max_side, got {max_side}.")
        self.network = load_network(checkpoint, config, device, network)
        self.max_side = max_side
        self.steps = test_steps(self.network.cfg, max_side, aug_test)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.network.CLASSES)

    @property
    def palette(self) -> Palette:
        """The RGB colors of the classes."""
        return palette_of(self.network)

    def __call__(self, image: str | Path | np.ndarray | Image.Image) -> Segmentation:
        """Label an image: a file, also in an archive, a PIL image, or (H, W, 3) uint8 RGB."""
        pixels = image[..., ::-1] if isinstance(image, np.ndarray) else image
        return self.label(as_bgr(pixels))

    def label(self, pixels: np.ndarray) -> Segmentation:
        """Label an image (H, W, 3) uint8 in the order blue, green, red."""
        height, width = pixels.shape[:2]
        share = min((self.max_side or max(height, width)) / max(height, width), 1)
        size = (max(round(width * share), 1), max(round(height * share), 1))
        small = pixels if share == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        scores = scores_of(self.network, collate([sample_of(self.steps, small)]))
        image = np.ascontiguousarray(pixels[..., ::-1])
        return Segmentation(image, scores, self.classes, self.palette)


def test_steps(cfg: Config, max_side: int | None = None, aug_test: bool = False) -> list[Any]:
    """Return the test pipeline of a config, with smaller sizes or with several ones if asked for.

    `ConfigError` for a config without a test pipeline, or with one that has no sizes.
    """
    section = next(iter(each(cfg.get("data", {}).get("test"))), None)
    steps = copy.deepcopy(list((section or {}).get("pipeline") or ()))
    if not steps:
        raise ConfigError(
            f"{cfg.filename}: expected steps in data.test.pipeline, got none. Add those of a test."
        )
    place = f"{cfg.filename}: "
    if aug_test:
        views_step(steps, "aug_test", place).update(AUGMENTATION)
    if max_side and (scales := (step := views_step(steps, "max_side", place)).get("img_scale")):
        step["img_scale"] = [_limited(scale, max_side) for scale in as_scales(scales)]
    return steps


test_steps.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  # pytest collects by name


def views_step(steps: Sequence[Any], wish: str, place: str = "") -> Any:
    """Return the step of a test pipeline that makes the views of an image.

    `ConfigError`, which begins with `place`, if a `wish` needs it and there is none.
    """
    step = next((step for step in steps if step["type"] == VIEWS), None)
    if step is None:
        raise ConfigError(
            f"{place}expected a step {VIEWS} in data.test.pipeline for {wish}, got none. Add it."
        )
    return step


def _limited(scale: Sequence[int], longest: int) -> tuple[int, ...]:
    """Shrink (width, height) so that the longer side is at most `longest`.

    >>> _limited((1024, 512), 256), _limited((100, 50), 256)
    ((256, 128), (100, 50))
    """
    share = min(longest / max(scale), 1)
    return tuple(max(round(side * share), 1) for side in scale)


def as_bgr(image: Any) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 BGR: a file's, a PIL image's, or pixels as they are."""
    if isinstance(image, str | Path):
        return read_color(image)
    if isinstance(image, Image.Image):
        turned = ImageOps.exif_transpose(image)
        return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[..., ::-1])
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"expected a path, a PIL image or an array (H, W, 3), got {type(image).__name__}."
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"expected an image as uint8 of shape (H, W, 3), got {image.dtype} of shape "
            f"{image.shape}. Convert it."
        )
    return image


def sample_of(steps: Sequence[Mapping[str, Any]], image: str | Path | np.ndarray) -> dict[str, Any]:
    """Run a test pipeline on a file, or (without its loading step) on an image (H, W, 3) BGR."""
    rng = np.random.default_rng(0)
    if isinstance(image, np.ndarray):
        rest = [step for step in steps if step["type"] != "LoadImageFromFile"]
        return Compose(rest)({**start_results(np.ascontiguousarray(image)), "rng": rng})
    info = {"img_info": {"filename": str(image)}, "img_prefix": None, "seg_fields": [], "rng": rng}
    return Compose(steps)(info)


@torch.no_grad()
def scores_of(model: Any, batch: Mapping[str, Any]) -> np.ndarray:
    """Return the class probabilities (C, H, W) of an image, given as one entry per augmentation."""
    device = next(model.parameters()).device
    total = model.summed_scores([image.to(device) for image in batch["img"]], batch["img_metas"])
    return total.div_(len(batch["img"]))[0].float().cpu().numpy()


def palette_of(model: Any) -> Palette:
    """Return the colors of a network's classes, as its checkpoint says, else distinct ones."""
    count, palette = model.num_classes, model.PALETTE or PALETTE
    return palette if len(palette) >= count else distinct_colors(count)
