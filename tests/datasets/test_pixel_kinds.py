"""Pictures of every kind of pixels are converted rightly or refused, and nothing else is read."""

import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg.config import load_config
from mmseg.datasets.crop_store import CropStore
from mmseg.datasets.depth.bins import read_depth
from mmseg.datasets.depth.inspection import folder_warnings
from mmseg.datasets.image_files import (
    PNG_START,
    picture_mode,
    picture_size,
    read_color,
    read_label,
    read_unchanged,
)
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.models.uda.depthmetric.bank import load_bank

RNG = np.random.default_rng(4)
RGB = RNG.integers(0, 256, (13, 17, 3), np.uint8)
TURNED = 6  # Exif: a quarter to the right


def tiff(path: Path, array: np.ndarray) -> Path:
    assert cv2.imwrite(str(path.with_suffix(".tiff")), array)
    return path.with_suffix(".tiff").replace(path)


def gray_png(path: Path, bits: int, values: list[int]) -> Path:
    """Write one row of gray values of few bits."""
    row = int("".join(f"{value:0{bits}b}" for value in values), 2)
    data = row.to_bytes(len(values) * bits // 8, "big")
    header = struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + data)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    ]
    path.write_bytes(PNG_START + b"".join(parts))
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_images_of_8_bits_are_read_as_pillow_reads_them(mode: str, tmp_path: Path) -> None:
    """Alpha is dropped; a JPEG of four colors may differ by rounding."""
    path = tmp_path / "a.png"
    image = Image.fromarray(RGB).convert(mode)
    image.save(path, "JPEG" if mode == "CMYK" else "PNG")
    with Image.open(path) as stored:
        expected = np.array(stored.convert("RGB"))[..., ::-1].astype(int)
    assert np.abs(read_color(path) - expected).max() <= (mode == "CMYK")


@pytest.mark.parametrize("shape", [(7, 11), (7, 11, 3), (7, 11, 4)])
def test_images_of_16_bits_keep_their_upper_byte(shape: tuple[int, ...], tmp_path: Path) -> None:
    """As OpenCV itself converts a PNG; 8-bit pixels times 257 come back as they were."""
    path = tmp_path / "a.png"
    pixels = RNG.integers(0, 256, shape).astype(np.uint16)
    assert cv2.imwrite(str(path), pixels * 257)
    expected = pixels[..., None].repeat(3, -1) if len(shape) == 2 else pixels[..., :3]
    np.testing.assert_array_equal(read_color(path), expected)
    assert cv2.imwrite(str(path), RNG.integers(0, 1 << 16, shape).astype(np.uint16))
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_color(path), expected)


UNKNOWN = {
    "0…1": RNG.uniform(0, 1, (5, 7)).astype(np.float32),
    "0…1 in color": RNG.uniform(0, 1, (5, 7, 3)).astype(np.float32),
    "0…255 as floats": RNG.uniform(0, 255, (5, 7)).astype(np.float32),
    "float64": RNG.uniform(0, 1, (5, 7)),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_images_of_fractions_are_refused(kind: str, tmp_path: Path, capfd) -> None:
    path = tiff(tmp_path / "a.png", UNKNOWN[kind])
    message = r"pixels 0…255, or 0…65535 .*a\.png', got float\d\d up to .*save them with 8 bits"
    with pytest.raises(ValueError, match=message):
        read_color(path)
    capfd.readouterr()  # what OpenCV says about them


@pytest.mark.parametrize(("most", "dtype"), [(1, np.uint8), (255, np.uint16), (4095, np.uint16)])
def test_images_that_nobody_would_see_are_refused(most: int, dtype: type, tmp_path: Path) -> None:
    """0…1 without scaling, and 8 or 12 bits in files of 16."""
    path = tmp_path / "a.png"
    pixels = RNG.integers(0, most + 1, (5, 7, 3)).astype(dtype)
    pixels[2, 3, 1] = most
    assert cv2.imwrite(str(path), pixels)
    with pytest.raises(ValueError, match=rf"a\.png', got u?int\d+ up to {most}\. Scale them to"):
        read_color(path)
    assert cv2.imwrite(str(path), np.zeros((5, 7, 3), dtype))
    assert not read_color(path).any(), "black is black"


def test_crops_may_be_dark_and_have_labels_of_two_classes(tmp_path: Path) -> None:
    """They are parts of images that were read; labels may be colored, as they once were."""
    label = RNG.integers(0, 2, (5, 7), np.uint8)
    for name, image, stored in (("0", label, label), ("1", label, np.stack([label] * 3, -1))):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), stored)
        store = CropStore(tmp_path, tmp_path, 2)
        got = store.read(int(name))
        np.testing.assert_array_equal(got[0], image[..., None].repeat(3, -1))
        np.testing.assert_array_equal(got[1], label)
    assert cv2.imwrite(str(tmp_path / "0.png"), label.astype(np.uint16) * 257)
    with pytest.raises(ValueError, match="Source crop: .*0.png"):
        store.read(0)


@pytest.mark.parametrize(
    ("bits", "values"), [(1, [0, 1] * 4), (2, [0, 1, 2, 3]), (4, [0, 1, 9, 15])]
)
def test_labels_of_few_bits_mean_their_values(bits: int, values: list[int], tmp_path: Path) -> None:
    """Pillow stretches them to 0…255: class 3 of 2 bits would be ignored."""
    assert read_label(gray_png(tmp_path / "a.png", bits, values)).tolist() == [values]
    picture = Image.fromarray(np.array([values], np.uint8)).convert("P")
    picture.putpalette(list(range(48)))
    picture.save(tmp_path / "a.png", bits=bits)
    assert read_label(tmp_path / "a.png").tolist() == [values]


@pytest.mark.parametrize("mode", ["I;16", "F", "LA", "RGBA", "CMYK"])
def test_labels_of_other_pixels_are_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = Image.fromarray(
        RNG.integers(0, 2, (5, 7)).astype({"I;16": "u2", "F": "f4"}.get(mode, "u1"))
    )
    image = pixels if mode in ("I;16", "F") else pixels.convert("RGB").convert(mode)
    image.save(path, "TIFF" if mode in ("F", "CMYK") else "PNG")
    with pytest.raises(ValueError, match=r"8-bit channel .*a\.png', got PNG mode .*Make it so"):
        read_label(path, "Make it so.")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_and_label_are_turned_alike(orientation: int, tmp_path: Path) -> None:
    """When both have the tag, as tools copy it; otherwise only the one that has it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:8, :8] = 200
    image, label = tmp_path / "a.jpg", tmp_path / "a.png"
    Image.fromarray(pixels).save(image, exif=exif, quality=100)
    Image.fromarray(pixels).save(label, exif=exif)
    turned = read_label(label)
    assert turned.shape == ((16, 24) if orientation < 5 else (24, 16))
    np.testing.assert_allclose(read_color(image)[..., 0].astype(int), turned, atol=2)


def test_depth_of_fractions_is_refused_and_of_0_and_1_is_noticed(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.png", UNKNOWN["0…1"])
    with pytest.raises(ValueError, match=r"grayscale PNG at '.*a\.png' .*'b\.png'.*of float32"):
        read_depth(path, "b.png", (5, 7))
    assert cv2.imwrite(str(path), RNG.integers(0, 2, (5, 7), np.uint8))
    assert "hold 0 and 1 only" in " ".join(folder_warnings([path], tmp_path))


READERS = {
    "image": read_color,
    "label": read_label,
    "map": read_unchanged,
    "depth": lambda path: read_depth(path, "a.png", (5, 7)),
    "checkpoint": read_checkpoint,
    "config": load_config,
    "pretrained": lambda path: load_pretrained(None, path, "", "there"),
    "bank": lambda path: load_bank(path, "gta"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["named pipe", "socket", "device"])
def test_what_never_ends_is_refused_at_once(reader: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes with names")
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "named pipe":
            os.mkfifo(path)
        elif kind == "socket":
            server.bind(str(path))
        else:
            path.symlink_to("/dev/zero")
        with pytest.raises(
            OSError, match=rf"expected .* at '.*x\.png', got a {kind}, .*Give the path"
        ):
            READERS[reader](path)
        assert picture_size(path) is None
        assert picture_mode(path) is None
