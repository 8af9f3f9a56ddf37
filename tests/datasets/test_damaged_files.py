"""No damaged picture is read as another one, and no label holds a class that does not exist."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tiny_data import make_pipeline_test, train_pipeline, write_png

from mmseg.config.registry import DATASETS
from mmseg.datasets import build_dataset
from mmseg.datasets.depth.bins import read_depth
from mmseg.datasets.image_files import read_bytes, read_color, read_label, read_unchanged
from mmseg.datasets.labels import IGNORE, LabelRule

SIZE = (26, 34)  # (H, W)


def encode_png(array: np.ndarray, palette: bool = False) -> bytes:
    """Encode as OpenCV does (gray, color, 16 bit), or with a palette as Pillow does."""
    if not palette:
        return cv2.imencode(".png", array)[1].tobytes()
    image = Image.fromarray(array).convert("P")
    image.putpalette(list(range(256)) * 3)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def material(kind: str) -> tuple[bytes, object]:
    rng = np.random.default_rng(3)
    blocks = np.kron(rng.integers(0, 19, (2, 2)), np.ones((13, 17))).astype(np.uint8)
    return {
        "gray label": (encode_png(blocks), read_label),
        "palette label": (encode_png(blocks, palette=True), read_label),
        "image": (encode_png(rng.integers(0, 256, (5, 7, 3), np.uint8)), read_color),
        "depth": (encode_png(rng.integers(0, 65536, (5, 7)).astype(np.uint16)), read_unchanged),
    }[kind]


@pytest.mark.parametrize("kind", ["gray label", "palette label", "image", "depth"])
def test_a_flipped_bit_anywhere_is_an_error_that_names_the_file(kind, tmp_path, capfd):
    """Or it is in what decoders ignore: then the pixels are those of the sound file.

    Without the checksums, 1 in 8 such labels is read as other classes.
    """
    data, read = material(kind)
    path = tmp_path / "damaged.png"
    path.write_bytes(data)
    expected = read(path)
    errors = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            got = read(path)
        except ValueError as error:
            assert str(path) in str(error)
            errors += 1
        else:
            np.testing.assert_array_equal(got, expected)
    assert errors > 0.95 * len(data)
    capfd.readouterr()  # what libpng says about some of them


@pytest.mark.parametrize("kind", ["gray label", "palette label", "image", "depth"])
def test_a_file_cut_off_anywhere_is_an_error_that_names_it(kind, tmp_path):
    data, read = material(kind)
    path = tmp_path / "damaged.png"
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged.png', got a broken file: .*Copy or make"):
            read(path)


def test_bytes_after_the_end_and_wrong_checksums_of_texts_do_no_harm(tmp_path):
    """As some writers leave them."""
    text = PngInfo()
    text.add_text("Comment", "drawn by hand")
    path = tmp_path / "text.png"
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(path, pnginfo=text)
    data = path.read_bytes()
    path.write_bytes(data + bytes(9))
    assert (read_label(path) == 7).all()
    path.write_bytes(data.replace(b"by hand", b"by Hand"))
    assert (read_color(path) == 7).all()
    read_bytes(path, "an image file")


def test_a_jpeg_that_is_cut_off_is_an_error_that_names_it(tmp_path):
    """OpenCV 4.8 reads it as a picture that is gray at the bottom."""
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8))[1]
    path = tmp_path / "street.jpg"
    path.write_bytes(data.tobytes())
    assert read_color(path).shape == (40, 56, 3)
    path.write_bytes(data.tobytes()[: len(data) // 2])
    with pytest.raises(ValueError, match=r"street.jpg', got a broken file: it is cut off .a JPEG"):
        read_color(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("appendix", [b"", b"\0" * 20_000, b"film\xff\x00" * 5_000])
def test_a_jpeg_may_have_more_behind_its_end_but_no_less_before(tmp_path, progressive, appendix):
    """As phones append films; a preview in the header has an end too, which is not the end."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    stream = io.BytesIO()
    preview = b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 3
    options = {"progressive": progressive, "exif": preview, "restart_marker_blocks": 3}
    Image.fromarray(noise).save(stream, "JPEG", quality=95, **options)
    data, path = stream.getvalue(), tmp_path / "street.jpg"
    path.write_bytes(data + appendix)
    assert read_color(path).shape == (90, 120, 3)
    for end in (len(data) // 2, len(data) - 2):
        path.write_bytes(data[:end] + appendix)
        with pytest.raises(ValueError, match=r"street.jpg', got a broken file: it is cut off"):
            read_color(path)


def test_label_that_is_a_jpeg_inside_is_refused_by_name(files):
    """When training and when evaluating; saved as PNG again, it would be no better."""
    Image.new("L", (46, 30), 7).save(files.gta / LABEL, format="JPEG")
    dataset = build_dataset(files.source())
    for read in (dataset.gt_label, dataset.__getitem__):
        with pytest.raises(ValueError, match=rf"label as PNG .* at '.*{LABEL}', got a JPEG"):
            read(0)


def test_picture_larger_than_the_decoder_accepts_is_named(tmp_path):
    """A header of 60,000 x 60,000 pixels with its checksum."""
    data = encode_png(np.zeros((3, 4), np.uint8))
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    (tmp_path / "huge.png").write_bytes(data)
    for read in (read_color, read_label):
        with pytest.raises(ValueError, match="huge.png', got a broken file"):
            read(tmp_path / "huge.png")


def test_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    def fail(self: Path) -> bytes:
        raise OSError(5, "Input/output error")  # as the system says it, without the file

    path = tmp_path / "far.png"
    path.touch()
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="an image file at '.*far.png', got: Input/output error"):
        read_color(path)
    with pytest.raises(OSError, match="Depth of the image 'a.png': .*far.png', got: Input/output"):
        read_depth(path, "a.png", SIZE)


CONVERT = r"Make the labels with: python tools/convert_datasets/gta\.py .*gta --nproc 8"
LABEL = "labels/00000_labelTrainIds.png"


def wrong_label(files, values: list[int], dtype: type = np.uint8) -> None:
    label = np.zeros((30, 46), dtype)
    label[3, : len(values)] = values
    write_png(files.gta / LABEL, label)


FAULTS = {
    "ids": ([7, 19, 33, 255], np.uint8, rf"0…18 or 255 .* '.*{LABEL}', got 19, 33. {CONVERT}"),
    "254": ([254], np.uint8, rf"'.*{LABEL}', got 254. {CONVERT}"),
    "many ids": (list(range(40)), np.uint8, r"got 19, 20, 21, 22, 23 …. Make"),
    "16 bit": (
        [7, 300],
        np.uint16,
        rf"one 8-bit channel .*{LABEL}', got PNG mode 'I;16.*{CONVERT}",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_label_that_holds_no_train_ids_names_file_ids_and_command(fault, files):
    """When training and when evaluating."""
    values, dtype, message = FAULTS[fault]
    wrong_label(files, values, dtype)
    with pytest.raises(ValueError, match=message):
        build_dataset(files.source())[0]
    with pytest.raises(ValueError, match=message):
        build_dataset(files.source(pipeline=make_pipeline_test()), test_mode=True).gt_label(0)


def test_color_label_names_the_command(files):
    write_png(files.gta / LABEL, np.zeros((30, 46, 3), np.uint8))
    with pytest.raises(ValueError, match=rf"got PNG mode 'RGB' of shape \(30, 46, 3\). {CONVERT}"):
        build_dataset(files.source())[0]


def test_ignored_labels_are_right(files):
    wrong_label(files, [18, 255])
    assert 255 in build_dataset(files.source(ignore_index=200)).gt_label(0)
    wrong_label(files, [18, 200])
    assert 200 in build_dataset(files.source(ignore_index=200)).gt_label(0)
    with pytest.raises(ValueError, match="got 200"):
        build_dataset(files.source()).gt_label(0)


def test_zero_is_taken_away_before_the_ids_are_checked(files):
    """Of 0…19, 0 becomes ignored and 19 becomes 18; 20 becomes 19, which is none."""
    steps = train_pipeline()
    steps[1]["reduce_zero_label"] = True
    wrong_label(files, [0, 19])
    dataset = build_dataset(files.source(pipeline=steps, reduce_zero_label=True))
    assert dataset.gt_label(0).max() == 255
    assert dataset[0]["gt_semantic_seg"].min() >= 18
    wrong_label(files, [0, 20])
    for read in (dataset.gt_label, dataset.__getitem__):
        with pytest.raises(ValueError, match=r"got 19. Make"):
            read(0)


def test_data_set_without_classes_takes_any_label(files):
    wrong_label(files, [40, 254])
    assert "CustomDataset" in DATASETS
    config = files.source(type="CustomDataset", img_suffix=".png")
    dataset = build_dataset({**config, "seg_map_suffix": "_labelTrainIds.png"})
    assert dataset[0]["gt_semantic_seg"].shape == (1, 18, 22)
    assert dataset.gt_label(0).max() == 254


def test_the_ids_of_a_right_label_are_not_listed(monkeypatch):
    """Listing them sorts two million values: that is only for the error."""
    label = np.random.default_rng(0).integers(0, 19, (26, 34)).astype(np.uint8)
    label[::7] = 255
    rule, listed, unique = LabelRule(19, IGNORE, ""), [], np.unique
    monkeypatch.setattr(np, "unique", lambda values: listed.append(1) or unique(values))
    rule.check(label, "x.png")
    assert not listed
    label[3, 4] = 19
    with pytest.raises(ValueError, match="got 19"):
        rule.check(label, "x.png")
    assert listed
