"""Depth or disparity maps that exist already -> the stored levels that training reads.

Legend: (H, W) is a map. Values are 'inverse' (disparity: near is large; unit and offset do not
matter) or 'metric' (distance: near is small; in meters or in a smaller unit, as KITTI's 1/256 m).

Where nothing was measured, the result is 0 (far), and the other pixels alone decide the scale. In
a 16-bit PNG, as KITTI and Cityscapes write them, that is 0; elsewhere what is not finite; and of
distances what is not above 0.
"""

import io
import tokenize
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mmseg.datasets.depth.bins import write_map
from mmseg.datasets.image_files import read_bytes, read_unchanged, unreadable
from mmseg.datasets.loader import each_item
from mmseg.preprocessing.depth_maps.jobs import Job, Outcomes
from mmseg.preprocessing.depth_maps.scaling import NEAREST, SCALING, nearness, to_stored
from mmseg.system.errors import is_for_user

# No camera sees more than this share nearer than `NEAREST`: the unit must be another one.
MAX_TOO_NEAR = 0.01
# What numpy raises for a damaged file: its header is a piece of Python.
BROKEN_NPY = (ValueError, TypeError, SyntaxError, OverflowError, MemoryError, tokenize.TokenError)


class Conversion(Dataset[str | None]):
    """Makes maps of files; item k converts that of job k, and says why that cannot be done."""

    def __init__(self, inputs: Sequence[Path], quantity: str) -> None:
        self.inputs, self.quantity = inputs, quantity
        self.jobs: Sequence[Job] = []

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, number: int) -> str | None:
        job = self.jobs[number]
        try:
            levels = convert(job.image, self.quantity)
        except (OSError, ValueError) as error:
            if not is_for_user(error):
                raise
            return str(error)
        return write_map(job.output, levels)

    def recipe(self) -> dict[str, Any]:
        """Return what decides the maps, as plain values of JSON."""
        return {"source": "files", "quantity": self.quantity, "scaling": SCALING}

    def details(self) -> dict[str, Any]:
        """Return what else is worth knowing about the maps, as plain values of JSON."""
        return {"files": [str(path) for path in self.inputs]}

    def describe(self) -> list[str]:
        """Return lines that tell a person what makes the maps."""
        if self.quantity == "metric":
            return ["Converts maps of metric depth (near is small): they are inverted."]
        return ["Converts maps of disparity or inverse depth (near is large)."]

    def outcomes(
        self, jobs: Sequence[Job], batch_size: int, workers: int, must_stop: Callable[[], bool]
    ) -> Outcomes:
        """Make maps of files, until `must_stop`; they make no batches."""
        del batch_size
        self.jobs = jobs
        with closing(each_item(self, min(workers, len(jobs)))) as outcomes:
            for outcome in outcomes:
                yield outcome
                if must_stop():
                    break


def convert(path: Path, quantity: str) -> np.ndarray:
    """Return the stored levels, (H, W) uint8, of the map in a file."""
    values, is_valid = read_values(path)
    if quantity == "metric":
        is_valid &= values > 0
    filled = torch.from_numpy(np.where(is_valid, values, values.dtype.type(1)))
    near = nearness(filled, quantity)
    levels, is_finite = to_stored(near[None], torch.from_numpy(is_valid)[None])
    if not bool(is_finite.all()):
        kind = "above 0" if quantity == "metric" else "measured"
        raise ValueError(
            f"expected a depth map with values that are {kind}, of a range that {values.dtype} can "
            f"hold, in '{path}', got none; leave the file out, or make its map from the image."
        )
    share = float((values[is_valid] < NEAREST).mean())
    if quantity == "metric" and share > MAX_TOO_NEAR:
        raise ValueError(
            f"expected distances in meters or a smaller unit in '{path}', got {share:.0%} of them "
            f"below {NEAREST} (largest: {values[is_valid].max():g}); multiply them to meters."
        )
    return levels[0].numpy()


def read_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a map, float32 or float64, whichever is exact, and where something was measured."""
    suffix = path.suffix.lower()
    stored = _read_npy(path) if suffix == ".npy" else _read_picture(path, suffix)
    is_exact = np.can_cast(stored.dtype, np.float32)
    with np.errstate(over="ignore"):  # what a float64 cannot hold becomes infinite: not valid
        values = stored.astype(np.float32 if is_exact else np.float64)
    if suffix == ".png" and stored.dtype == np.uint16:
        return values, stored > 0
    return values, np.isfinite(values)


def _read_picture(path: Path, suffix: str) -> np.ndarray:
    """Read a PNG or TIFF of one channel, or of equal ones as programs that paint gray write."""
    kind = "8- or 16-bit integers" if suffix == ".png" else "integers, float32 or float64"
    try:
        stored = read_unchanged(path)
    except ValueError as error:
        if suffix == ".png":
            raise
        raise ValueError(
            f"expected a TIFF with one channel of {kind} at '{path}', got one that cannot be "
            "decoded; copy it again, or store the map as npy."
        ) from error
    if stored.ndim == 2:
        return stored
    first, alpha = stored[..., 0], stored[..., 3:]
    if (stored[..., :3] != first[..., None]).any() or (alpha != alpha.max(initial=0)).any():
        raise ValueError(
            f"expected one channel of {kind} in '{path}', got {stored.shape[2]} channels; use "
            "the raw depth, not a colored picture of it."
        )
    return first


def _read_npy(path: Path) -> np.ndarray:
    """Read an array of real numbers as (H, W); no program in the file is run."""
    file = io.BytesIO(read_bytes(path, "an npy file"))
    try:
        stored = np.lib.format.read_array(file)  # refuses objects
    except BROKEN_NPY as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(unreadable(path, "an npy file", reason)) from error
    shape = tuple(n for n in stored.shape if n != 1) if stored.ndim > 2 else stored.shape
    if stored.dtype.kind not in "iuf" or len(shape) != 2 or min(shape) < 1:
        raise ValueError(
            f"expected one map of integers or floats, of shape (height, width), in '{path}', got "
            f"{stored.dtype.name} of shape {stored.shape}; store one number per pixel, and every "
            "map in a file of its own."
        )
    return stored.reshape(shape)
