"""Depth or disparity maps that exist already -> the stored levels that training reads.

Legend: (H, W) is a map. Values are 'inverse' (disparity, inverse depth: near is large; their unit
and offset do not matter) or 'metric' (distance: near is small; in meters or in a smaller unit, as
KITTI's 1/256 m).

Where nothing was measured, the result is 0 (far), and the other pixels alone decide the scale. In
a 16-bit PNG, as KITTI and Cityscapes write them, that is 0; in npy and TIFF what is not finite;
in all files with distances what is not above 0.
"""

import io
import math
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg.datasets.image_files import read_bytes, read_unchanged, unreadable
from mmseg.preprocessing.depth_maps.scaling import NEAREST, SCALING, nearness, to_stored

SUFFIXES = (".npy", ".tif", ".tiff", ".png")
# No camera sees more than this share nearer than `NEAREST`: the unit must be another one.
MAX_TOO_NEAR = 0.01
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What numpy raises for a damaged header: that is a piece of Python.
_BROKEN_HEADER = (ValueError, TypeError, SyntaxError, OverflowError, tokenize.TokenError)


def convert(path: str | Path, quantity: str) -> np.ndarray:
    """Return the stored levels, (H, W) uint8, of the map in a file.

    Args:
        path: of the file; its suffix is one of `SUFFIXES`.
        quantity: 'inverse' or 'metric'.
    """
    values, is_valid = read_values(path)
    if quantity == "metric":
        is_valid &= values > 0
    if not is_valid.any():
        kind = "above 0" if quantity == "metric" else "measured"
        raise ValueError(
            f"expected a depth map with values that are {kind} in '{path}', got none; do leave "
            "the file out, or make its map from the image."
        )
    if quantity == "metric":
        _check_unit(path, values[is_valid])
    filled = torch.from_numpy(np.where(is_valid, values, values.dtype.type(1)))
    near = nearness(filled, quantity)
    stored = to_stored(near[None], torch.from_numpy(is_valid)[None])
    if not bool(stored.is_finite.all()):
        raise ValueError(
            f"expected depth of a range that {values.dtype} can hold in '{path}', got "
            f"{values[is_valid].min():g} to {values[is_valid].max():g}; do mark what is not "
            "measured as NaN."
        )
    return stored.levels[0].numpy()


def read_values(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a map as it is.

    Returns:
        (H, W) float32 or float64 (whichever holds the file's numbers), and (H, W) bool: where
        something was measured.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"expected a depth map as {', '.join(SUFFIXES)}, got '{path}'; do convert it to one "
            "of them."
        )
    stored = _read_npy(path) if suffix == ".npy" else _read_picture(path)
    is_exact = np.can_cast(stored.dtype, np.float32)
    with np.errstate(over="ignore"):  # what a float64 cannot hold becomes infinite: not valid
        values = stored.astype(np.float32 if is_exact else np.float64)
    if suffix == ".png" and stored.dtype == np.uint16:
        return values, stored > 0
    return values, np.isfinite(values)


def _check_unit(path: str | Path, distances: np.ndarray) -> None:
    """Raise if numbers are too small for meters: most would count as one distance, the nearest."""
    share = float((distances < NEAREST).mean())
    if share > MAX_TOO_NEAR:
        raise ValueError(
            f"expected distances in meters or a smaller unit in '{path}', got {share:.0%} of them "
            f"below {NEAREST} (largest: {distances.max():g}); do multiply them to meters."
        )


def recipe(quantity: str) -> dict[str, Any]:
    """Return what decides how the maps come out, for `depth.json`."""
    return {"source": "files", "quantity": quantity, "scaling": SCALING}


def _read_picture(path: str | Path) -> np.ndarray:
    """Read a PNG or TIFF of one channel as (H, W)."""
    is_png = Path(path).suffix.lower() == ".png"
    kind = "8- or 16-bit integers" if is_png else "integers, float32 or float64"
    try:
        stored = read_unchanged(path)
    except ValueError as error:
        if is_png:
            raise
        raise ValueError(
            f"expected a TIFF with one channel of {kind} at '{path}', got one that cannot be "
            "decoded; do copy it again, or store the map as npy."
        ) from error
    gray = _gray(stored)
    if gray is None:
        raise ValueError(
            f"expected one channel of {kind} in '{path}', got {stored.shape[2]} channels; do use "
            "the raw depth, not a colored picture of it."
        )
    return gray


def _gray(stored: np.ndarray) -> np.ndarray | None:
    """Return (H, W) of one channel, or of equal ones, as programs that paint maps gray write."""
    if stored.ndim == 2:
        return stored
    first, alpha = stored[..., 0], stored[..., 3:]
    is_gray = (stored[..., :3] == first[..., None]).all() and (alpha == alpha.max(initial=0)).all()
    return first if is_gray else None


def _read_npy(path: str | Path) -> np.ndarray:
    """Read an array of real numbers as (H, W); no program in the file is run."""
    data = read_bytes(path, "an npy file")
    file = io.BytesIO(data)
    try:
        read_header = _HEADERS[np.lib.format.read_magic(file)]
        shape, is_fortran, dtype = read_header(file)
    except (*_BROKEN_HEADER, KeyError) as error:
        reason = "its first bytes are not those that numpy.save writes"
        raise ValueError(unreadable(path, "an npy file", reason)) from error
    if dtype.kind not in "iuf":
        raise ValueError(
            f"expected integers or floats in '{path}', got {dtype.name}; do store one number per "
            "pixel."
        )
    size = tuple(n for n in shape if n != 1) if len(shape) > 2 else shape
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"expected one map of shape (height, width) in '{path}', got shape {shape}; do store "
            "every map in a file of its own."
        )
    missing = file.tell() + math.prod(size) * dtype.itemsize - len(data)
    if missing > 0:
        reason = f"it is cut off ({missing} bytes are missing)"
        raise ValueError(unreadable(path, "an npy file", reason))
    values = np.frombuffer(data, dtype, math.prod(size), file.tell())
    return values.reshape(size, order="F" if is_fortran else "C")
