"""A PNG file has the same pixels with kornia-rs as without it, whatever its kind."""

import struct
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mmseg.datasets import plain_png
from mmseg.datasets.image_files import read_color, read_label, read_unchanged
from mmseg.datasets.integrity import PNG_START

HEIGHT, WIDTH = 5, 7
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the kinds: gray, RGB, palette, with alpha
BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PALETTE = (b"PLTE", bytes(range(256)) * 3)
TURNED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # Exif: to the right
AS_TEXT = (len(TURNED) + 6, (b"Exif\0\0" + TURNED).hex().encode())
CHANGES = {
    "transparency": (b"tRNS", b"\0\x07" * 3),
    "orientation": (b"eXIf", TURNED),
    "text": (b"tEXt", b"Software\0drawn"),
    "orientation as text": (
        b"tEXt",
        b"Raw profile type exif\0\nexif\n%8d\n%s"
        % (len(TURNED) + 6, (b"Exif\0\0" + TURNED).hex().encode()),
    ),
    "gamma": (b"gAMA", struct.pack(">I", 45455)),
    "background": (b"bKGD", b"\0\x03" * 3),
    "significant bits": (b"sBIT", b"\5\6\5"),
    "unknown": (b"quIz", b"?"),
}
READERS = (read_color, read_unchanged, read_label)


def png(bits: int, kind: int, *chunks: tuple[bytes, bytes], is_interlaced: bool = False) -> bytes:
    """Return a file of random pixels; every row has another filter."""
    rng = np.random.default_rng((bits, kind))
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    sizes = [(len(range(y, HEIGHT, dy)), len(range(x, WIDTH, dx))) for y, x, dy, dx in passes]
    sizes = [*sizes, (HEIGHT // 2, WIDTH)] if is_interlaced else [(HEIGHT, WIDTH)]
    rows = [
        bytes([y % 5]) + rng.bytes(-(-width * CHANNELS[kind] * bits // 8))
        for height, width in sizes
        if width
        for y in range(height)
    ]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, is_interlaced)
    whole = [(b"IHDR", header), *([PALETTE] if kind == 3 else []), *chunks]
    whole += [(b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return PNG_START + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in whole
    )


def files() -> Iterator[tuple[str, bytes]]:
    kinds = [(bits, kind) for kind in BITS for bits in BITS[kind]]
    for (bits, kind), interlaced in product(kinds, (False, True)):
        yield f"{bits} bits {kind} {interlaced}", png(bits, kind, is_interlaced=interlaced)
    for kind, (name, chunk) in product((0, 2, 3), CHANGES.items()):
        yield f"{kind} with {name}", png(8, kind, chunk)


def what_readers_say(path: Path) -> list[object]:
    said = []
    for read in READERS:
        try:
            pixels = read(path)
            said.append((pixels.shape, pixels.dtype, pixels.tobytes()))
        except ValueError as error:
            said.append(str(error))
    return said


@pytest.mark.parametrize(
    ("name", "data"), list(files()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_pixels_are_those_of_the_usual_decoders(name, data, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    found = what_readers_say(path)
    monkeypatch.setattr(plain_png, "decode_image_png_u8", None)
    assert found == what_readers_say(path), name


def test_a_stream_that_ends_early_is_told_by_the_usual_decoder(tmp_path, monkeypatch):
    """All checksums are right, the rows of pixels are too few."""
    whole = png(8, 2)
    start = whole.index(b"IDAT") - 4
    rows = zlib.compress(b"\0" * 30)
    chunk = struct.pack(">I", len(rows)) + b"IDAT" + rows
    path = tmp_path / "a.png"
    path.write_bytes(whole[:start] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + whole[-12:])
    found = what_readers_say(path)
    monkeypatch.setattr(plain_png, "decode_image_png_u8", None)
    assert found == what_readers_say(path)


@pytest.mark.skipif(plain_png.decode_image_png_u8 is None, reason="kornia-rs is not installed")
def test_only_usual_files_are_decoded_by_kornia_rs():
    for name, data in files():
        found = plain_png.decode_plain(data)
        is_usual = name in ("8 bits 0 False", "8 bits 2 False") or name.endswith(
            ("0 with text", "2 with text", "with gamma", "with background")
        )
        assert (found is not None) == (is_usual and not name.startswith("3 ")), name


def test_a_header_that_claims_billions_of_pixels_is_not_believed():
    data = png(8, 0)
    claimed = data[:16] + struct.pack(">II", 1 << 16, 1 << 15) + data[24:]
    assert plain_png.decode_plain(claimed) is None
