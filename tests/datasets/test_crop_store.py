"""Source crops on disk."""

import numpy as np
import pytest
from tiny_data import write_png

from mmseg.datasets import CropStore


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        write_png(tmp_path / f"images/{i}.png", rng.integers(0, 256, (9, 14, 3), np.uint8))
        write_png(tmp_path / f"labels/{i}.png", np.full((9, 14), i, np.uint8))
    return CropStore(tmp_path / "images", tmp_path / "labels")


def test_crop_is_read_as_it_was_written(store):
    image, label = store.read(2)
    rng = np.random.default_rng(0)
    expected = [rng.integers(0, 256, (9, 14, 3), np.uint8) for _ in range(3)][2]
    np.testing.assert_array_equal(image, expected)
    assert (label == 2).all()
    store.verify(3)


def test_too_few_crops_are_an_error(store):
    with pytest.raises(FileNotFoundError, match="5 source crops .* none for 2 of them.*'3.png'"):
        store.verify(5)
    with pytest.raises(FileNotFoundError, match="nowhere', got no such folder.*run_seg.py"):
        CropStore("nowhere", store.labels_path).verify(3)


def test_label_of_another_size_is_an_error(store):
    write_png(store.label_file(1), np.zeros((9, 13), np.uint8))
    with pytest.raises(ValueError, match=r"\(9, 14\), got \(9, 13\)"):
        store.read(1)


def test_damaged_crop_is_named_and_can_be_drawn_anew(store):
    for file in (store.image_file(2), store.label_file(1)):
        data = bytearray(file.read_bytes())
        data[-30] ^= 4
        file.write_bytes(data)
        with pytest.raises(ValueError, match=f"{file}.*broken.* Delete it: run_seg.py redraws mi"):
            store.read(int(file.stem))
    store.label_file(0).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"Source crop: .*{store.label_file(0)}', got no su"
    ):
        store.read(0)


def test_label_with_a_class_that_the_network_lacks_is_named(store):
    """Labels are 0, 1 and 2 here."""
    narrow = CropStore(store.images_path, store.labels_path, 2, "python run_seg.py --num 3")
    assert (narrow.read(1)[1] == 1).all()
    with pytest.raises(ValueError, match=r"0…1 .*labels/2.png', got 2. Make .*run_seg.py --num 3"):
        narrow.read(2)
    write_png(store.label_file(2), np.full((9, 14), 255, np.uint8))
    assert (narrow.read(2)[1] == 255).all()
