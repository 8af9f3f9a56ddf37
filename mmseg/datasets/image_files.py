"""Find, read and write image, label and depth files; errors name the file and the remedy."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg.datasets.integrity import damage_of, is_jpeg
from mmseg.system.files import atomic_write

# How else people and cameras spell the ending of an image's name, in any case.
SPELLINGS = {".jpg": r"\.jpe?g", ".jpeg": r"\.jpe?g", ".png": r"\.png"}


def files_below(folder: Path, suffix: str = "") -> list[str]:
    """List the files below `folder` (one scan), as relative names with '/'."""
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [n for n in folders if not n.startswith(".") and not _loops(Path(parent, n))]
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found += [prefix + n for n in names if n.endswith(suffix) and not n.startswith(".")]
    return found


def _refuse(error: OSError) -> None:
    """Raise for a folder that cannot be listed: its files would be missing without a word."""
    folder = Path(os.fsdecode(error.filename))
    if folder.name == "lost+found":  # of the file system itself, for root alone
        return
    raise type(error)(
        f"expected a folder that can be read at '{folder}', got: {error.strerror}. Change its "
        f"permissions, or move it to another place."
    ) from error


def images_below(folder: Path, suffix: str) -> tuple[dict[str, str], list[str]]:
    """Return the images below `folder` as {name without suffix: name}, and those left out.

    The end of `suffix` may be spelled in another way (.JPG or .jpeg for .jpg). Of several images
    that differ in it alone, and so share a label, the one with `suffix` itself is taken.
    """
    stem, dot, extension = suffix.rpartition(".")
    spelled = SPELLINGS.get(f"{dot}{extension}".lower())
    pattern = f"{re.escape(stem)}(?i:{spelled})" if spelled else re.escape(suffix)
    ending = re.compile(rf"{pattern}\Z")
    found, twins = {}, []
    # The exact spelling goes first.
    for name in sorted(files_below(folder), key=lambda name: (not name.endswith(suffix), name)):
        match = ending.search(name)
        if match and found.setdefault(name[: match.start()], name) != name:
            twins.append(name)
    return found, twins


def _loops(folder: Path) -> bool:
    """Tell whether a folder is a link to one of its parents."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def read_color(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 in the order blue, green, red."""
    return _decode(path, cv2.IMREAD_COLOR)


def read_unchanged(path: str | Path, lossless: bool = False) -> np.ndarray:
    """Read an image file as it is: (H, W) or (H, W, 3|4), uint8 or uint16, BGR.

    With `lossless`, because its values are classes, a JPEG is refused.
    """
    return _decode(path, cv2.IMREAD_UNCHANGED, lossless)


def read_label(path: str | Path, remedy: str | None = None) -> np.ndarray:
    """Read a label PNG as (H, W) uint8: the gray value, or the index of a palette PNG.

    `remedy` says what to do when the file is a picture but not a label.
    """
    data = read_bytes(path, "a label PNG")
    _require_lossless(data, path)
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


def _require_lossless(data: bytes, path: str | Path) -> None:
    """Raise if the bytes of a label file are a JPEG, which invents classes along all edges."""
    if is_jpeg(data):
        raise ValueError(
            f"expected a label as PNG (or another lossless format) at '{path}', got a JPEG, which "
            f"changes the values of pixels. Use the original file: saving this one as PNG does not "
            f"bring the values back."
        )


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


def _decode(path: str | Path, flags: int, lossless: bool = False) -> np.ndarray:
    data = read_bytes(path, "an image file")
    if lossless:
        _require_lossless(data, path)
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


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Return (H, W) of a file from its first bytes.

    None: these do not tell, because it is broken or, as its camera noted, may have to be turned.
    """
    try:
        with Image.open(path) as picture:
            return None if "exif" in picture.info else (picture.height, picture.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def picture_mode(path: Path) -> str | None:
    """Return the kind of pixels in a file, as Pillow calls it; None of a broken one."""
    try:
        with Image.open(path) as picture:
            return picture.mode
    except (OSError, SyntaxError, ValueError):
        return None
