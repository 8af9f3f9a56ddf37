"""Depth files -> bins."""

import math

import cv2
import numpy as np
import pytest

from mmseg.datasets.depth.bins import depth_to_bins, read_depth


def test_8_bit_values_give_the_recorded_bins(golden):
    with np.load(golden / "I/I.npz") as archive:
        expected = archive["I_depth_transform_u8"]
    got = depth_to_bins(np.arange(256, dtype=np.uint8))
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.uint8
    assert len(set(got.tolist())) == 119


def test_16_bit_values_are_divided_by_257_first():
    """Multiples of 257 are the 8-bit values; 128 * 257 + 100 lies between two of them."""
    coarse = np.arange(256, dtype=np.uint16) * 257
    np.testing.assert_array_equal(depth_to_bins(coarse), depth_to_bins(np.arange(256, dtype="u1")))
    between = math.floor(255 * math.exp(-6 * (128 * 257 + 100) / 257 / 256))
    assert depth_to_bins(np.array([128 * 257 + 100], np.uint16)) == [between]


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="expected depth as uint8 or uint16, got float32"):
        depth_to_bins(np.zeros(3, np.float32))


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 1), (np.uint16, 257)])
def test_files_of_both_depths_read_the_same(tmp_path, dtype, factor):
    stored = np.random.default_rng(0).integers(0, 256, (13, 17)).astype(dtype) * dtype(factor)
    cv2.imwrite(str(tmp_path / "d.png"), stored)
    got = read_depth(tmp_path / "d.png", "x.png", (13, 17))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, depth_to_bins((stored // factor).astype(np.uint8)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "street.png.*got no such file"),
        (lambda path: path.write_bytes(b""), "street.png.*broken file: it is empty"),
        (lambda path: path.write_bytes(b"no picture"), "street.png.*cannot be decoded"),
        (lambda path: _write(path, cut=20), "street.png.*cut off"),
        (lambda path: _write(path, size=(14, 17)), "17x13 pixels for.*street.png.*got 17x14"),
        (lambda path: _write(path, size=(13, 17, 3)), "street.png.*got 3 channels"),
    ],
)
def test_bad_depth_file_is_an_error_that_names_both_files(tmp_path, make, message):
    path = tmp_path / "depth.png"
    make(path)
    with pytest.raises((OSError, ValueError), match=message) as raised:
        read_depth(path, "street.png", (13, 17))
    assert str(path) in str(raised.value)


def _write(path, size=(13, 17), cut=0):
    data = cv2.imencode(".png", np.zeros(size, np.uint8))[1].tobytes()
    path.write_bytes(data[: len(data) - cut])
