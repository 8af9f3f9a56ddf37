"""Depth files -> depth bins.

Legend: the files hold inverse depth as Depth Anything stores it (near is large). A bin is
``floor(255 * exp(-6 * d / 256))`` of the stored 8-bit value d: near objects fall into low bins, far
ones into high bins, and far depth is resolved more finely.
"""

import shlex
from pathlib import Path, PurePosixPath

import numpy as np

from mmseg.datasets.depth.record import recorded_model
from mmseg.datasets.image_files import encode_png, explained, read_unchanged
from mmseg.datasets.lookup import look_up
from mmseg.system.files import atomic_write

NUM_BINS = 256
PAD_BIN = 255  # also the label's pad value
DEFAULT_MODEL = "small"  # of tools/make_depth.py: its license permits every use


def _bins(stored: np.ndarray) -> np.ndarray:
    return np.floor(255 * np.exp(-6 * stored / 256)).astype(np.uint8)


# A 16-bit value is the 8-bit one times 257 (65535 / 255), not rounded before it becomes a bin.
BINS = {np.uint8: _bins(np.arange(1 << 8)), np.uint16: _bins(np.arange(1 << 16) / 257)}


def depth_to_bins(stored: np.ndarray) -> np.ndarray:
    """Turn stored values, uint8 or uint16 of any shape, into uint8 bins.

    >>> depth_to_bins(np.array([0, 1, 255], np.uint8)).tolist()
    [255, 249, 0]
    >>> depth_to_bins(np.array([0, 257, 65535], np.uint16)).tolist()
    [255, 249, 0]
    """
    if stored.dtype.type not in BINS:
        raise ValueError(f"expected depth as uint8 or uint16, got {stored.dtype}. Store it as PNG.")
    table = BINS[stored.dtype.type]
    return look_up(table, stored) if stored.dtype == np.uint8 else np.take(table, stored)


def png_name(filename: str) -> str:
    """Return the name of an image's depth map: the image's own name, but as a PNG.

    >>> png_name("b/00001.jpg")
    'b/00001.png'
    """
    return PurePosixPath(filename).with_suffix(".png").as_posix()


def make_command(
    images: str | Path, maps: str | Path | None = None, layout: str | None = None
) -> str:
    """Return the command that makes the depth maps of the folder `images` in the folder `maps`.

    It names the model that is recorded there.
    """
    command = ["python", "tools/make_depth.py", str(images), "--out", str(maps or "DIR")]
    command += ["--layout", layout] if layout else []
    model = (maps and recorded_model(maps)) or DEFAULT_MODEL
    return shlex.join([*command, "--model", model])


def read_depth(
    path: str | Path, image_path: str | Path, size: tuple[int, int], command: str | None = None
) -> np.ndarray:
    """Read the depth of an image of `size` (height, width) as (H, W) float32 bins.

    Errors name both files and `command`, which makes the maps.
    """
    return depth_to_bins(read_stored(path, image_path, size, command)).astype(np.float32)


def read_stored(
    path: str | Path, image_path: str | Path, size: tuple[int, int], command: str | None = None
) -> np.ndarray:
    """Read the values that a map holds, (H, W) uint8 or uint16; arguments as of `read_depth`."""
    command = command or make_command("…")
    with explained(f"Depth of the image '{image_path}': ", f"Make missing maps with: {command}"):
        stored = read_unchanged(path)
    if stored.ndim != 2 or stored.dtype.type not in BINS:
        kind = f"{stored.shape[2]} channels" if stored.ndim > 2 else f"values of {stored.dtype}"
        raise ValueError(
            f"expected an 8- or 16-bit grayscale PNG at '{path}' (depth of '{image_path}'), got "
            f"{kind}. Store the raw depth, not a colored picture of it. Make "
            f"new maps with: {command} --overwrite"
        )
    if stored.shape != size:
        raise ValueError(
            f"expected depth of {size[1]}x{size[0]} pixels for the image '{image_path}', got "
            f"{stored.shape[1]}x{stored.shape[0]} in '{path}'. Make it from the image itself. "
            f"Remake all maps with: {command} --overwrite"
        )
    return stored


def write_map(path: Path, levels: np.ndarray) -> None:
    """Write a depth map, (H, W) uint8, as a gray PNG, whole or not at all."""
    data = encode_png(levels)
    with atomic_write(path) as file:
        file.write(data)
