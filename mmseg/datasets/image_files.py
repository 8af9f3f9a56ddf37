"""Find, read and write image, label and depth files; errors name the file and the remedy."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg.datasets.integrity import damage_of
from mmseg.system.files import atomic_write


def files_below(folder: Path, suffix: str = "") -> list[str]:
    """List the files below `folder` (one scan), as relative names with '/'."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [n for n in folders if not n.startswith(".") and not _loops(Path(parent, n))]
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found += [prefix + n for n in names if n.endswith(suffix) and not n.startswith(".")]
    return found


def _loops(folder: Path) -> bool:
    """Tell whether a folder is a link to one of its parents."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def read_color(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 in the order blue, green, red."""
    return _decode(path, cv2.IMREAD_COLOR)


def read_unchanged(path: str | Path) -> np.ndarray:
    """Read an image file as it is: (H, W) or (H, W, 3|4), uint8 or uint16, BGR."""
    return _decode(path, cv2.IMREAD_UNCHANGED)


def read_label(path: str | Path, remedy: str | None = None) -> np.ndarray:
    """Read a label PNG as (H, W) uint8: the gray value, or the index of a palette PNG.

    `remedy` says what to do when the file is a picture but not a label.
    """
    data = read_bytes(path, "a label PNG")
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, label = image.mode, np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(unreadable(path, "a label PNG", str(error))) from error
    if label.ndim != 2 or mode not in ("L", "P", "1"):
        raise ValueError(
            f"expected one 8-bit channel (gray or palette) in the label '{path}', got PNG mode "
            f"{mode!r} of shape {label.shape}. {remedy or 'Use the label files of the dataset.'}"
        )
    return label.astype(np.uint8, copy=False)


def write_label(
    path: str | Path, label: np.ndarray, palette: list[list[int]] | None = None
) -> None:
    """Write (H, W) uint8 as an 8-bit PNG: gray, or with a palette of RGB rows."""
    image = Image.fromarray(np.ascontiguousarray(label, dtype=np.uint8))
    if palette is not None:
        colors = np.zeros((256, 3), np.uint8)
        colors[: len(palette)] = palette
        image = image.convert("P")
        image.putpalette(colors.tobytes())
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG")


def encode_png(array: np.ndarray) -> bytes:
    """Return (H, W) uint8 or uint16, or (H, W, 3) BGR, as the bytes of a PNG file."""
    ok, data = cv2.imencode(".png", array)
    if not ok:
        raise ValueError(f"expected a picture, got {array.dtype} {array.shape}.")
    return data.tobytes()


def _decode(path: str | Path, flags: int) -> np.ndarray:
    data = read_bytes(path, "an image file")
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # such as more pixels than OpenCV accepts
        raise ValueError(unreadable(path, "an image file", error.err)) from error
    if array is None:
        raise ValueError(unreadable(path, "an image file", "it cannot be decoded"))
    return array


def read_bytes(path: str | Path, kind: str) -> bytes:
    """Read a whole file and verify that it is intact; `kind` says what it should be."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"expected {kind} at '{path}', got no such file.") from None
    except OSError as error:  # a bad disk's message would not name the file
        reason = error.strerror or str(error)
        raise type(error)(f"expected {kind} at '{path}', got: {reason}.") from error
    if damage := damage_of(data):
        raise ValueError(unreadable(path, kind, damage))
    return data


@contextmanager
def explained(before: str = "", advice: str = "") -> Iterator[None]:
    """Add what was read, and what to do, to the message of an error of a file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise type(error)(f"{before}{error} {advice}") from error


def unreadable(path: str | Path, kind: str, reason: str) -> str:
    """Return the sentence for a file that exists but is broken."""
    return f"expected {kind} at '{path}', got a broken file: {reason}. Copy or make it again."


def picture_mode(path: Path) -> str | None:
    """Return the kind of pixels in a file, as Pillow calls it; None of a broken one."""
    try:
        with Image.open(path) as picture:
            return picture.mode
    except (OSError, SyntaxError, ValueError):
        return None
