"""Read and write image, label and depth files; every failure names the file and the remedy."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg.datasets.labels import flat_palette
from mmseg.files import atomic_write

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TAIL = 4096  # bytes in which the closing chunk must lie; some writers append a few after it


def read_color(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 in the order blue, green, red."""
    return _decode(path, cv2.IMREAD_COLOR)


def read_unchanged(path: str | Path) -> np.ndarray:
    """Read an image file as it is: (H, W) or (H, W, 3|4), uint8 or uint16, BGR."""
    return _decode(path, cv2.IMREAD_UNCHANGED)


def read_label(path: str | Path) -> np.ndarray:
    """Read a label PNG as (H, W) uint8: the gray value, or the palette index of a palette PNG."""
    data = _read_bytes(path, "a label PNG")
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, label = image.mode, np.array(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(_unreadable(path, "a label PNG", str(error))) from error
    if label.ndim != 2 or mode not in ("L", "P", "1"):
        raise ValueError(
            f"expected one 8-bit channel (gray or palette) in the label '{path}', got PNG mode "
            f"{mode!r} of shape {label.shape}; do use the label files of the data set."
        )
    return label.astype(np.uint8, copy=False)


def write_label(
    path: str | Path, label: np.ndarray, palette: list[list[int]] | None = None
) -> None:
    """Write (H, W) uint8 as an 8-bit PNG: gray, or with rows of RGB as its palette."""
    image = Image.fromarray(np.ascontiguousarray(label, dtype=np.uint8))
    if palette is not None:
        image = image.convert("P")
        image.putpalette(flat_palette(palette))
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG")


def _decode(path: str | Path, flags: int) -> np.ndarray:
    data = _read_bytes(path, "an image file")
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None:
        raise ValueError(_unreadable(path, "an image file", "it cannot be decoded"))
    return array


def _read_bytes(path: str | Path, kind: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"expected {kind} at '{path}', got no such file.") from None
    if not data:
        raise ValueError(_unreadable(path, kind, "it is empty"))
    if data.startswith(_PNG_SIGNATURE) and b"IEND" not in data[-_PNG_TAIL:]:
        raise ValueError(_unreadable(path, kind, "it is cut off (a PNG without its last chunk)"))
    return data


def _unreadable(path: str | Path, kind: str, reason: str) -> str:
    return f"expected {kind} at '{path}', got a broken file: {reason}; do copy or make it again."
