"""Which files of a folder are its images, and which labels belong to them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_data import make_pipeline_test, write_png

from mmseg.datasets import build_dataset
from mmseg.datasets.image_files import files_below

LABEL = "labels/00000_labelTrainIds.png"


def index(folder: Path, suffix: str, **options) -> list[tuple[str, str]]:
    config = {"type": "CustomDataset", "img_dir": str(folder), "img_suffix": suffix, **options}
    dataset = build_dataset({**config, "pipeline": make_pipeline_test()}, test_mode=True)
    return [(info["filename"], info["ann"]["seg_map"]) for info in dataset.img_infos]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("suffix", "images"),
    [
        (".jpg", ["a/3.jpeg", "1.jpg", "2.JPG", "4.Jpeg"]),
        (".jpeg", ["1.jpg", "2.JPEG"]),
        (".PNG", ["1.png", "2.PNG"]),
        ("_rgb_anon.png", ["1_rgb_anon.png", "2_rgb_anon.PNG"]),
        (".bmp", ["1.bmp"]),
        ("", ["0.gif", "0_jpg", "1.bmp"]),
    ],
)
def test_suffixes_of_images_may_be_spelled_in_other_ways(tmp_path, suffix, images):
    """In the order of their names; labels are called alike."""
    touch(tmp_path, *images, ".hidden.jpg")
    if suffix:
        touch(tmp_path, "0.gif", "0_jpg", "5_rgb_anon.png.txt", "5_RGB_ANON.tif", "6.BMP")
    assert [image for image, _ in index(tmp_path, suffix)] == sorted(images)


def test_labels_and_lists_know_images_without_suffix(tmp_path):
    touch(tmp_path, "1.jpg", "a/2.JPG", "3.jpeg")
    (tmp_path / "some.txt").write_text("a/2\n3\n")
    options = {"split": str(tmp_path / "some.txt"), "seg_map_suffix": "_ids.png"}
    expected = [("3.jpeg", "3_ids.png"), ("a/2.JPG", "a/2_ids.png")]
    assert index(tmp_path, ".jpg", **options) == expected


def test_of_images_with_one_name_that_with_the_suffix_itself_is_taken(tmp_path):
    """They share a label and a prediction; the others are named."""
    touch(tmp_path, "1.jpeg", "1.jpg", "2.jpeg")
    with pytest.warns(UserWarning, match=r"1 images of '.*' are left out: .*, as '1.jpeg' does"):
        assert index(tmp_path, ".jpg") == [("1.jpg", "1.png"), ("2.jpeg", "2.png")]


@pytest.fixture
def locked(monkeypatch):
    """Return a function that makes a folder unreadable, for root as well."""
    scan, closed = os.scandir, []

    def scandir(folder):
        if Path(folder) in closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    return closed.append


@pytest.mark.parametrize("folder", ["images/ulm", "labels/ulm"])
def test_folder_that_cannot_be_read_is_an_error_that_names_it(files, locked, folder):
    touch(files.gta, f"{folder}/notes.txt")
    locked(files.gta / folder)
    with pytest.raises(PermissionError, match=f"can be read at '.*{folder}', got: Permission den"):
        build_dataset(files.source())


def test_what_a_file_system_keeps_for_itself_is_left_out(tmp_path, locked):
    touch(tmp_path, "1.png", "lost+found/2.png")
    locked(tmp_path / "lost+found")
    assert files_below(tmp_path) == ["1.png"]


@pytest.mark.parametrize("shape", [(31, 46), (29, 46), (30, 47), (30, 46)])
def test_label_of_nearly_the_size_of_its_image_is_fitted_in_evaluation(files, shape, monkeypatch):
    """As in training: cut, or filled up with ignored pixels, at the bottom and on the right."""
    monkeypatch.setattr("mmseg.datasets.pipelines.reading.TOLERATED_SHARE", 0.04)
    label = np.random.default_rng(0).integers(0, 19, shape).astype(np.uint8)
    write_png(files.gta / LABEL, label)
    expected = np.full((31, 47), 255, np.uint8)
    expected[: shape[0], : shape[1]] = label
    dataset = build_dataset(files.source())
    np.testing.assert_array_equal(dataset.gt_label(0), expected[:30, :46])


def test_label_of_another_size_names_both_files_in_evaluation(files):
    write_png(files.gta / LABEL, np.zeros((33, 46), np.uint8))
    with pytest.raises(ValueError, match=f"46x30 pixels .*images/00000.png', got 46x33 .*{LABEL}"):
        build_dataset(files.source()).gt_label(0)


def test_image_that_is_turned_when_read_has_the_size_of_its_turned_label(files):
    """Photographs taken upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = files.gta / "images/00000.png"
    Image.new("RGB", (30, 46)).save(path.with_suffix(".jpg"), exif=exif)
    path.unlink()
    dataset = build_dataset(files.source(img_suffix=".jpg"), test_mode=True)
    assert dataset.gt_label(0).shape == (30, 46)
    write_png(files.gta / LABEL, np.zeros((46, 30), np.uint8))
    with pytest.raises(ValueError, match="46x30 pixels .*images/00000.jpg', got 30x46"):
        dataset.gt_label(0)
