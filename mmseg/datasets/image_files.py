"""Find, read and write image, label and depth files; failures name the file and the remedy."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg.datasets.integrity import damage_of
from mmseg.datasets.labels import flat_palette
from mmseg.system.files import atomic_write


def files_below(folder: Path, suffix: str = "") -> list[str]:
    """List the files in `folder` and its folders (one scan), as relative names with '/'."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [n for n in folders if not n.startswith(".") and not _loops(Path(parent, n))]
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found += [prefix + n for n in names if n.endswith(suffix) and not n.startswith(".")]
    return found


def _loops(folder: Path) -> bool:
    """Tell whether a folder is a link to one that it lies in."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def read_color(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 in the order blue, green, red."""
    return _decode(path, cv2.IMREAD_COLOR)


def read_unchanged(path: str | Path) -> np.ndarray:
    """Read an image file as it is: (H, W) or (H, W, 3|4), uint8 or uint16, BGR."""
    return _decode(path, cv2.IMREAD_UNCHANGED)


def read_label(path: str | Path, remedy: str | None = None) -> np.ndarray:
    """Read a label PNG as (H, W) uint8: the gray value, or the palette index of a palette PNG.

    Args:
        path: of the file.
        remedy: what to do when the file is a picture, but no label.
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
            f"{mode!r} of shape {label.shape}. "
            f"{remedy or 'Use the label files of the dataset.'}"
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


def verify_file(path: str | Path) -> None:
    """Raise unless an image file is there and undamaged; its pixels are not decoded."""
    read_bytes(path, "an image file")


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
    """Read a file whole; `kind` ("a label PNG") says what is expected there."""
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


def unreadable(path: str | Path, kind: str, reason: str) -> str:
    """Return the sentence for a file that is there, but broken."""
    return f"expected {kind} at '{path}', got a broken file: {reason}. Copy or make it again."
