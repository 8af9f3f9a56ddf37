"""Maps that exist already become the levels that training reads, or an error names the file."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg.preprocessing.depth_maps.disparity import convert, read_values
from mmseg.preprocessing.depth_maps.jobs import MAP_SUFFIXES
from mmseg.system.errors import is_for_user

NAN, INF = float("nan"), float("inf")
REAL_TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", ">i2", ">f4"]


def save(path: Path, values: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, values, allow_pickle=True)
    else:
        assert cv2.imwrite(str(path), values)
    return path


def test_an_inverse_map_is_scaled_over_its_measured_pixels(tmp_path):
    """0…4 on 0…255, truncated: 1 -> 63.75, 2 -> 127.5; what is not finite becomes far."""
    values = np.array([[0, 1, 2], [NAN, INF, 4], [-INF, 0, 3]], np.float32)
    for name in ("a.npy", "a.tiff"):
        levels = convert(save(tmp_path / name, values), "inverse")
        assert levels.dtype == np.uint8
        assert levels.tolist() == [[0, 63, 127], [0, 0, 255], [0, 0, 191]]
    assert not convert(save(tmp_path / "a.npy", np.full((3, 4), 7.5)), "inverse").any()
    exact = save(tmp_path / "a.npy", np.array([[2**24, 2**24 + 1]], np.int32))  # not in float32
    assert convert(exact, "inverse").tolist() == [[0, 255]]


def test_zero_of_a_16_bit_png_is_no_measurement_and_does_not_set_the_minimum(tmp_path):
    """256…1280: 512 -> 63.75, 768 -> 127.5. If 0 were a value, 512 would be 102."""
    values = np.array([[0, 256, 512], [768, 1280, 0]], np.uint16)
    path = save(tmp_path / "kitti.png", values)
    assert convert(path, "inverse").tolist() == [[0, 0, 63], [127, 255, 0]]
    read, is_valid = read_values(path)
    assert (read == values).all()
    assert (is_valid == (values > 0)).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF", "a.npy"])
def test_zero_is_a_value_of_all_other_files(name, tmp_path):
    """0…250 on 0…255: 50 -> 51."""
    kind = np.uint8 if name == "a.png" else np.uint16
    path = save(tmp_path / name, np.array([[0, 50, 250]], kind))
    assert convert(path, "inverse").tolist() == [[0, 51, 255]]
    assert read_values(path)[1].all()


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.npy"])
def test_of_distances_the_nearest_becomes_the_brightest(name, tmp_path):
    """1/3, 1/5, 1/15: the second lies in the middle (127.5), whatever the unit is.

    0 and what is below (-1 marks holes in some datasets) is no distance: it becomes far.
    """
    values = np.array([[3, 5, 15, 0]]) * 256
    path = save(tmp_path / name, values.astype(np.uint16 if name == "a.png" else np.float32))
    assert convert(path, "metric").tolist() == [[255, 127, 0, 0]]
    assert convert(path, "inverse")[0, 2] == 255
    if name != "a.png":
        holes = np.array([[3, 5, 15, -1], [0, NAN, INF, -INF]], np.float32)
        assert convert(save(path, holes), "metric").tolist() == [[255, 127, 0, 0], [0] * 4]


@pytest.mark.parametrize("kind", REAL_TYPES)
def test_npy_of_every_real_type_and_order_is_read_exactly(kind, tmp_path):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 100, (5, 7)).astype(kind)
    for order in "CF":
        path = save(tmp_path / "a.npy", np.asarray(values, order=order))
        read, is_valid = read_values(path)
        needs_float64 = np.dtype(kind).itemsize > (4 if kind.endswith(("f4", "f8", "g")) else 2)
        assert read.dtype == (np.float64 if needs_float64 else np.float32)
        assert (read == values).all()
        assert is_valid.shape == (5, 7)
        assert is_valid.all()
    expected = convert(save(tmp_path / "b.npy", values.astype(np.float64)), "inverse")
    assert np.abs(convert(path, "inverse").astype(int) - expected).max() <= 1  # of float32


def test_axes_of_length_one_are_left_out(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    for shape in ((1, 4, 6), (4, 6, 1), (1, 1, 4, 6), (1, 4, 6, 1)):
        read, _ = read_values(save(tmp_path / "a.npy", values.reshape(shape)))
        assert (read == values).all()
    read, is_valid = read_values(save(tmp_path / "a.npy", np.zeros((1, 9))))  # a map of one row
    assert read.shape == is_valid.shape == (1, 9)


@pytest.mark.parametrize("quantity", ["inverse", "metric"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_conversion_is_that_of_a_plain_loop(quantity, kind, tmp_path):
    """Bit for bit, with the operations in the stated order."""
    rng = np.random.default_rng(5)
    values = rng.uniform(0.5, 80, (13, 17)).astype(kind)
    values[rng.random((13, 17)) < 0.2] = NAN
    expected = np.zeros((13, 17), np.uint8)
    near = 1 / values if quantity == "metric" else values
    low, high = np.nanmin(near), np.nanmax(near)
    for y, x in np.ndindex(13, 17):
        if not np.isnan(near[y, x]):
            expected[y, x] = int((near[y, x] - low) / (high - low) * kind(255))
    path = save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(convert(path, quantity), expected)


def test_distances_in_too_large_a_unit_are_refused_instead_of_flattened(tmp_path):
    """A simulator's 0…1 for 0…1000 m: all that is nearer than 100 m would become one level.

    Here these are 22 of 200 pixels. One wrong pixel is no such map: it counts as 0.1 m.
    """
    values = np.linspace(4, 900, 200).reshape(10, 20)
    path = save(tmp_path / "shares.npy", values / 1000)
    with pytest.raises(
        ValueError,
        match=r"in meters .*shares.npy', got 11% of them below 0.1 \(largest: 0.9\); ",
    ):
        convert(path, "metric")
    assert convert(path, "inverse").max() == 255
    expected = convert(save(tmp_path / "meters.npy", values), "metric")
    assert np.abs(convert(save(tmp_path / "mm.npy", values * 1000), "metric") - expected).max() <= 1
    values[0, 0] = 0.001
    assert convert(save(tmp_path / "wrong.npy", values), "metric")[0, 0] == 255


class Trap:
    """Would make a folder if a file with it were loaded as a program."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


def wrong_arrays():
    pair = np.zeros((2, 3), [("a", "f4"), ("b", "f4")])
    return {
        "bool": (np.zeros((2, 3), bool), "one map of integers or floats.* got bool"),
        "complex": (np.zeros((2, 3), complex), "got complex128 .*; store one number"),
        "object": (np.array([[Trap()]], object), "a broken file: Object arrays cannot be loaded"),
        "text": (np.array([["near", "far"]]), "expected one map of integers or floats"),
        "structure": (pair, "expected one map of integers or floats"),
        "dates": (np.zeros((2, 3), "M8[D]"), "expected one map of integers or floats"),
        "two maps": (np.zeros((2, 3, 4)), r"of shape \(2, 3, 4\); .* every map in a file"),
        "one row": (np.zeros(5), r"of shape \(height, width\), .* of shape \(5,\)"),
        "no row": (np.zeros((0, 5)), r"of shape \(0, 5\)"),
        "a number": (np.float32(3), r"of shape \(\)"),
        "all NaN": (np.full((2, 3), NAN), "values that are measured, .* got none; leave"),
        "too wide": (np.array([[-3e38, 3e38]], np.float32), "of a range that float32 can hold, in"),
    }


@pytest.mark.parametrize("case", wrong_arrays())
def test_an_array_that_is_no_map_is_an_error_that_names_the_file(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array, message = wrong_arrays()[case]
    path = save(tmp_path / "wrong.npy", array)
    with pytest.raises(ValueError, match=message) as caught:
        convert(path, "inverse")
    assert str(path) in str(caught.value)
    assert is_for_user(caught.value)
    assert not (tmp_path / "trapped").exists()


def test_a_map_without_a_distance_above_zero_says_so(tmp_path):
    path = save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(
        ValueError, match="values that are above 0, .* in .*a.npy', got none; leave"
    ):
        convert(path, "metric")
    path = save(tmp_path / "a.png", np.zeros((2, 3), np.uint16))
    with pytest.raises(ValueError, match="values that are measured, .* in .*a.png', got none"):
        convert(path, "inverse")


def wrong_files(folder: Path) -> dict[str, tuple[Path, str]]:
    rng = np.random.default_rng(6)
    color = rng.integers(0, 256, (4, 5, 3), np.uint8)
    archive = io.BytesIO()
    np.savez(archive, depth=np.zeros((4, 5)))
    contents = {"text.npy": b"0.5 0.25\n", "empty.npy": b"", "archive.npy": archive.getvalue()}
    contents |= {"text.tif": b"0.5 0.25\n", "empty.tiff": b""}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    not_npy = "an npy file .* got a broken file: the magic string is not correct"
    channels = "got 3 channels; use the raw depth, not a colored picture"
    cases = {
        "text.npy": not_npy,
        "archive.npy": not_npy,
        "empty.npy": "an npy file .* it is empty",
        "text.tif": "a TIFF with one channel .* cannot be decoded; copy it again, or store",
        "empty.tiff": "cannot be decoded",
    }
    cases[save(folder / "color.png", color).name] = f"8- or 16-bit integers .* {channels}"
    cases[save(folder / "color.tif", color).name] = f"integers, float32 or float64 .* {channels}"
    cases[save(folder / "alpha.png", np.dstack([color, color[..., :1]])).name] = "got 4 channels"
    return {name: (folder / name, message) for name, message in cases.items()}


def test_a_file_that_holds_no_map_is_an_error_that_names_it(tmp_path, capfd):
    for path, message in wrong_files(tmp_path).values():
        with pytest.raises(ValueError, match=message) as caught:
            convert(path, "inverse")
        assert str(path) in str(caught.value)
        assert is_for_user(caught.value)
    for suffix in MAP_SUFFIXES:
        with pytest.raises(FileNotFoundError, match=f"expected .* at .*none{suffix}', got no such"):
            convert(tmp_path / f"none{suffix}", "inverse")
    capfd.readouterr()  # what libtiff says about some of them


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.png"])
def test_a_file_cut_off_anywhere_is_an_error_that_names_it(name, tmp_path, capfd):
    values = np.arange(300 * 3).reshape(30, 30)
    path = save(tmp_path / name, values.astype(np.uint16 if name == "a.png" else np.float32))
    data = path.read_bytes()
    needed = len(data) - (4 if name == "a.tif" else 0)  # a TIFF ends with "no further picture"
    for length in {*range(0, needed, 13), needed - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"expected .*[Cc]opy") as caught:
            read_values(path)
        assert str(path) in str(caught.value)
    capfd.readouterr()


def test_a_flipped_bit_in_the_header_of_an_npy_file_is_a_sentence_or_does_no_harm(tmp_path):
    """No allocation of petabytes, no error without the file's name."""
    path = save(tmp_path / "a.npy", np.zeros((5, 7), np.float32))
    data, errors = path.read_bytes(), 0
    for position in range(len(data) - 5 * 7 * 4):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                values, is_valid = read_values(path)
            except ValueError as error:
                assert str(path) in str(error)
                assert is_for_user(error)
                errors += 1
            else:
                assert values.shape == is_valid.shape
                assert values.nbytes <= 2 * 5 * 7 * 8
    assert errors > 300


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_map_in_equal_channels_is_that_of_one_channel(mode, tmp_path):
    """As programs write maps that they paint gray."""
    gray = Image.fromarray(np.arange(20, 55, dtype=np.uint8).reshape(5, 7))
    gray.save(tmp_path / "one.png")
    gray.convert(mode).save(tmp_path / "more.png")
    expected = convert(tmp_path / "one.png", "inverse")
    assert expected.min() == 0 and expected.max() == 255
    assert np.array_equal(convert(tmp_path / "more.png", "inverse"), expected)
