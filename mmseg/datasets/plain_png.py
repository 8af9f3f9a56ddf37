"""The usual kind of PNG files, decoded two to three times faster where kornia-rs is installed.

These hold 8-bit gray values or colors and nothing that changes how they are shown. All other files,
and broken ones, are left to the decoders that know every kind, so pixels are the same without
kornia-rs.
"""

import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np

from mmseg.datasets.integrity import PNG_START

try:
    from kornia_rs.io import decode_image_png_u8
except ImportError:  # the extra [fast] is not installed
    decode_image_png_u8 = None

GRAY, COLOR = 0, 2  # kinds of pixels
MODES = {GRAY: "mono", COLOR: "rgb"}
HARMLESS = {b"IDAT", b"bKGD", b"cHRM", b"gAMA", b"iCCP", b"pHYs", b"sRGB", b"tIME"}
TEXTS = {b"iTXt", b"tEXt", b"zTXt"}
TURNS = re.compile(rb"Raw profile|XML:", re.IGNORECASE)  # texts that may say how a camera was held
MOST_PIXELS = 1 << 26  # a file of a few bytes may claim any number


def decode_plain(data: bytes) -> np.ndarray | None:
    """Return the pixels of a PNG file's bytes: (H, W) gray or (H, W, 3) BGR, uint8.

    None if the file is not of the usual kind, cannot be decoded, or kornia-rs is missing.
    """
    if decode_image_png_u8 is None or (found := _plain_header(data)) is None:
        return None
    height, width, kind = found
    try:
        pixels = decode_image_png_u8(data, (height, width), MODES[kind])
    except Exception:  # noqa: BLE001 (kornia-rs raises no other); the usual decoder says what is wrong
        return None
    return pixels[..., 0] if kind == GRAY else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)


def _plain_header(data: bytes) -> tuple[int, int, int] | None:
    """Return height, width and the kind of pixels of a PNG of the usual kind."""
    if len(data) < 33 or not data.startswith(PNG_START) or data[12:16] != b"IHDR":
        return None
    width, height, bits, kind, *methods = struct.unpack_from(">IIBBBBB", data, 16)
    if bits != 8 or kind not in MODES or any(methods) or not 0 < width * height <= MOST_PIXELS:
        return None
    return (height, width, kind) if all(map(_is_harmless, _chunks(data))) else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind of each chunk after the header, up to the last one, and how it begins."""
    start = 33
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        if kind == b"IEND":
            return
        yield kind, data[start + 8 : start + 8 + min(length, 20)]
        start += 12 + length


def _is_harmless(chunk: tuple[bytes, bytes]) -> bool:
    kind, begin = chunk
    return kind in HARMLESS or (kind in TEXTS and TURNS.match(begin) is None)
