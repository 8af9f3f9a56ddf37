"""Images of several sizes and kinds, runs over them, and the maps that a plain loop makes of them.

The network is the tiny one; its input has a shorter side of 28 pixels. The plain loop computes in
float64 and does not truncate: what a run in float32 has to be is told by `assert_truncated`.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from mmseg.preprocessing.depth_maps.make_maps import Options, Summary, make_maps

SIZES = [(40, 72), (48, 64), (61, 45)]  # (H, W)
# In levels. Of eight tiny networks, float32 moved values past a step by 0.002 at most, whatever
# instructions the processor has, with and without OpenCV's IPP; this is five times as much.
NOISE = 0.01
ROTATED = 6  # in Exif: turn clockwise to show


def write_images(folder: Path) -> Path:
    """Write eleven images: colored ones of three sizes, a gray, a 16-bit and a turned one."""
    rng = np.random.default_rng(3)
    for number in range(8):
        height, width = SIZES[number % 3 if number < 6 else 0]
        small = rng.integers(0, 256, (6, 9, 3), np.uint8)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        path = folder / ("a" if number < 5 else "b") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    gray = cv2.resize(rng.integers(0, 256, (5, 7), np.uint8), (72, 40))
    Image.fromarray(gray).save(folder / "b/gray.png")
    deep = cv2.resize(rng.integers(0, 1 << 16, (5, 7)).astype(np.uint16), (64, 48))
    cv2.imwrite(str(folder / "b/deep.png"), deep)
    turned = Image.fromarray(cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (50, 34)))
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    turned.save(folder / "b/turned.jpg", exif=exif)
    return folder


def names(folder: Path) -> list[str]:
    """Return the files in a folder without suffix, sorted."""
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def plain_map(model: Path, image: np.ndarray, is_metric: bool = False) -> np.ndarray:
    """Make the map of one image (H, W, 3), BGR, step by step: (H, W) float64, 0…255."""
    from transformers import AutoModelForDepthEstimation

    network = AutoModelForDepthEstimation.from_pretrained(model).double().eval()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    height, width = image.shape[:2]
    scale = 28 / min(height, width)
    h, w = (round(side * scale / 14) * 14 for side in (height, width))
    resized = cv2.resize(image[..., ::-1] / 255.0, (w, h), interpolation=cv2.INTER_CUBIC)
    normalized = torch.from_numpy((resized - mean) / std).permute(2, 0, 1)
    with torch.no_grad():
        depth = network(pixel_values=normalized[None]).predicted_depth[:, None]
    depth = interpolate(depth, (height, width), mode="bilinear", align_corners=True)
    values = depth[0, 0].numpy()
    values = 1 / np.maximum(values, 0.1) if is_metric else values
    return (values - values.min()) / (values.max() - values.min()) * 255


def plain_maps(images: Path, model: Path) -> dict[str, np.ndarray]:
    """Make the maps one by one, of images turned as Exif says: name without suffix -> map."""
    return {
        path.relative_to(images).with_suffix("").as_posix(): plain_map(model, cv2.imread(str(path)))
        for path in sorted(images.rglob("*.*"))
    }


def assert_truncated(levels: np.ndarray, values: np.ndarray) -> None:
    """Compare stored levels with values in float64: where `NOISE` does not pass a step, exactly."""
    assert levels.shape == values.shape and levels.dtype == np.uint8
    assert (np.floor(values - NOISE) <= levels).all()
    assert (levels <= np.floor(values + NOISE)).all()


def run(images: Path, out: Path, said: list[str] | None = None, **choices: Any) -> Summary:
    """Make maps in this process, one image at a time unless `choices` say otherwise."""
    options = Options((images,), out, **choices)
    return make_maps(options, (said if said is not None else []).append)


def read_maps(folder: Path) -> dict[str, np.ndarray]:
    """Return name without suffix -> what a map's file holds."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): np.asarray(Image.open(path))
        for path in sorted(folder.rglob("*.png"))
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, but for the hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("[!.]*"))
        if path.is_file()
    }
