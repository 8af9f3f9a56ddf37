"""Find, read and write image, label and depth files; errors name the file and the remedy."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmseg.datasets.integrity import PNG_START, damage_of, is_jpeg
from mmseg.datasets.plain_png import decode_plain
from mmseg.system import archives
from mmseg.system.files import atomic_write, refuse_endless

# How else people and cameras spell the ending of an image's name, in any case.
SPELLINGS = {".jpg": r"\.jpe?g", ".jpeg": r"\.jpe?g", ".png": r"\.png"}
HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/)")  # of a system, in an archive
# Pillow stretches gray values of 2 and 4 bits to 0…255; a label means the values themselves.
PNG_BITS = len(PNG_START) + 16  # where a PNG says how many bits a value has
STRETCH = {2: 85, 4: 17}
# A 16-bit image that stays below this value (12 bits) is nearly black when it has 8 bits.
LEAST_OF_16_BITS = 1 << 12


def files_below(folder: Path, suffix: str = "") -> list[str]:
    """List the files below `folder` (one scan), as relative names with '/'.

    It may lie in an archive, see `mmseg.system.archives`.
    """
    if archives.is_inside(folder):
        names = archives.names_below(folder)
        return [n for n in names if n.endswith(suffix) and not HIDDEN.search(n)]
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


def read_color(path: str | Path, is_part: bool = False) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 in the order blue, green, red.

    Gray, palette and CMYK images become BGR, and alpha is dropped. 16-bit pixels lose their lower
    byte, which is what OpenCV makes of a PNG. `ValueError` for pixels that are stored in another
    way, such as 0…1; a part of an image (`is_part`) may be as dark.
    """
    pixels = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if is_part and pixels.dtype == np.uint8:
        return pixels
    return _with_8_bits(pixels, path)


def read_unchanged(path: str | Path, lossless: bool = False) -> np.ndarray:
    """Read an image file as it is: (H, W) or (H, W, 3|4), uint8 or uint16, BGR.

    With `lossless`, because its values are classes, a JPEG is refused.
    """
    return _decode(path, cv2.IMREAD_UNCHANGED, lossless)


def read_label(path: str | Path, remedy: str | None = None) -> np.ndarray:
    """Read a label PNG as (H, W) uint8: the gray value, or the index of a palette PNG.

    It is turned as its Exif tag says, like an image.
    `remedy` says what to do when the file is a picture but not a label.
    """
    data = read_bytes(path, "a label PNG")
    _require_lossless(data, path)
    plain = decode_plain(data)
    if plain is not None and plain.ndim == 2:
        return plain
    try:
        with Image.open(io.BytesIO(data)) as image:
            ImageOps.exif_transpose(image, in_place=True)
            mode, label = image.mode, np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(unreadable(path, "a label PNG", str(error))) from error
    if label.ndim != 2 or mode not in ("L", "P", "1"):
        raise ValueError(
            f"expected one 8-bit channel (gray or palette) in the label '{path}', got PNG mode "
            f"{mode!r} of shape {label.shape}. {remedy or 'Use the label files of the dataset.'}"
        )
    is_png = data.startswith(PNG_START)
    divisor = STRETCH.get(data[PNG_BITS], 1) if is_png and mode == "L" else 1
    return label.astype(np.uint8, copy=False) if divisor == 1 else label // np.uint8(divisor)


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
    if (plain := decode_plain(data)) is not None:
        is_gray = plain.ndim == 2 and flags != cv2.IMREAD_UNCHANGED
        return cv2.cvtColor(plain, cv2.COLOR_GRAY2BGR) if is_gray else plain
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # such as more pixels than OpenCV accepts
        raise ValueError(unreadable(path, "an image file", error.err)) from error
    if array is None and flags != cv2.IMREAD_UNCHANGED:  # such as fractions, which have no color
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(unreadable(path, "an image file", "it cannot be decoded"))
    return array


def _with_8_bits(pixels: np.ndarray, path: str | Path) -> np.ndarray:
    """Turn the pixels of an image into uint8, or raise if nobody knows how bright they are."""
    most = pixels.max(initial=0)
    if pixels.dtype == np.uint16 and not 0 < most < LEAST_OF_16_BITS:
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8 or most == 1:
        raise ValueError(
            f"expected pixels 0…255, or 0…65535 of 16 bits, in the image '{path}', got "
            f"{pixels.dtype} up to {most:g}. Scale them to 0…255 and save them with 8 bits."
        )
    return pixels


def read_bytes(path: str | Path, kind: str) -> bytes:
    """Read a whole file and verify that it is intact; `kind` says what it should be."""
    refuse_endless(path, kind)
    try:
        data = archives.read(path) if archives.is_inside(path) else Path(path).read_bytes()
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


def opened(path: str | Path) -> io.BytesIO | str | Path:
    """Return what Pillow opens: the path, or the content of a file in an archive."""
    return io.BytesIO(archives.read(path)) if archives.is_inside(path) else path


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """Return (H, W) of a file from its first bytes.

    None: these do not tell, because it is broken or, as its camera noted, may have to be turned.
    """
    try:
        refuse_endless(path, "an image file")
        with Image.open(opened(path)) as picture:
            return None if "exif" in picture.info else (picture.height, picture.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def picture_mode(path: Path) -> str | None:
    """Return the kind of pixels in a file, as Pillow calls it; None of a broken one."""
    try:
        refuse_endless(path, "an image file")
        with Image.open(opened(path)) as picture:
            return picture.mode
    except (OSError, SyntaxError, ValueError):
        return None
