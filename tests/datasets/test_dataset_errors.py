"""What the datasets say about missing and broken files and options."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_data import train_pipeline, write_png

from mmseg.datasets import build_dataset


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-15])


CASES = {
    "no image folder": (
        lambda f: shutil.rmtree(f.gta / "images"),
        r"expected the images of GTADataset in '.*gta/images', got no such folder. Download",
    ),
    "empty image folder": (
        lambda f: [p.unlink() for p in (f.gta / "images").iterdir()],
        r"expected images '\*\.png' of GTADataset in '.*gta/images', got none",
    ),
    "no label folder": (
        lambda f: shutil.rmtree(f.gta / "labels"),
        r"expected a label for every image .*gta/labels', got no such folder. Make the labels "
        r"with: python tools/convert_datasets/gta.py .*/gta --nproc 8",
    ),
    "image without label": (
        lambda f: (f.gta / "labels/00002_labelTrainIds.png").unlink(),
        r"got none for 1 of 4: image '.*images/00002.png', missing '.*00002_labelTrainIds.png'",
    ),
    "no depth folder": (
        lambda f: shutil.rmtree(f.gta / "depth_any"),
        r"expected a depth map for every image .*depth_any', got no such folder. Make them "
        r"with: python tools/make_depth\.py \S+/gta/images --out \S+/gta/depth_any --layout gta "
        r"--model small \(docs/depth_maps\.md\), or set dep_dir=None to train without depth",
    ),
    "image without depth": (
        lambda f: (f.gta / "depth_any/00001.png").unlink(),
        r"got none for 1 of 4: image '.*images/00001.png', missing '.*depth_any/00001.png'. "
        r"Make them with: python tools/make_depth\.py ",
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_missing_files_end_the_construction_with_the_remedy(files, case):
    harm, message = CASES[case]
    harm(files)
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset(files.source())


def test_missing_split_file_is_an_error(files):
    message = "list of images of GTADataset as UTF-8 text at '.*train.txt', got no such file"
    with pytest.raises(FileNotFoundError, match=message):
        build_dataset(files.source(split="train.txt"))


SPLITS = {
    "empty": (b" \n\n", r"expected images '\*\.png' of GTADataset in '.*gta/some.txt', got none"),
    "missing images": (
        b"00001\n00007\n00009\n",
        r"images listed in '.*some.txt' in '.*gta/images', got no file for 2 of 3, the first "
        r"'00007.png'. Correct the list .one image name without '.png' per line",
    ),
    "names with suffix": (b"00001.png", r"no file for 1 of 1, the first '00001.png.png'"),
    "another encoding": (
        "gr\u00fcn\n".encode("latin-1"),
        r"as UTF-8 text at '.*some.txt', got some",
    ),
}


@pytest.mark.parametrize("case", SPLITS)
@pytest.mark.parametrize("test_mode", [False, True])
def test_wrong_split_file_is_an_error_that_names_it(files, case, test_mode):
    content, message = SPLITS[case]
    (files.gta / "some.txt").write_bytes(content)
    with pytest.raises((OSError, ValueError), match=message):
        build_dataset(files.source(split="some.txt"), test_mode=test_mode)


def test_empty_test_data_is_an_error(files):
    (files.gta / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="images '.*png' of GTADataset in '.*nothing', got"):
        build_dataset(files.source(img_dir="nothing"), test_mode=True)


def test_training_needs_ann_dir_only_if_labels_are_loaded(files):
    with pytest.raises(ValueError, match="expected ann_dir of GTADataset.*LoadAnnotations"):
        build_dataset(files.source(ann_dir=None))
    unlabeled = [s for s in train_pipeline() if s["type"] != "LoadAnnotations"]
    unlabeled[-1] = {"type": "Collect", "keys": ["img"]}
    sample = build_dataset(files.source(ann_dir=None, pipeline=unlabeled))[0]
    assert set(sample) == {"img", "img_metas", "depth"}


BROKEN = {
    "cut image": (lambda f: _cut(f.gta / "images/00000.png"), "images/00000.png.*cut off"),
    "cut label": (
        lambda f: _cut(f.gta / "labels/00000_labelTrainIds.png"),
        "labels/00000_labelTrainIds.png.*cut off",
    ),
    "color label": (
        lambda f: write_png(
            f.gta / "labels/00000_labelTrainIds.png", np.zeros((30, 46, 3), np.uint8)
        ),
        "one 8-bit channel .*00000_labelTrainIds.png', got PNG mode 'RGB'",
    ),
    "label of another size": (
        lambda f: write_png(f.gta / "labels/00000_labelTrainIds.png", np.zeros((33, 46), np.uint8)),
        "label of 46x30 pixels for the image .*images/00000.png', got 46x33",
    ),
    "depth of another size": (
        lambda f: write_png(f.gta / "depth_any/00000.png", np.zeros((30, 40), np.uint8)),
        r"depth of 46x30 pixels for the image .*images/00000.png', got 40x30 in '.*depth_any/.* "
        r"Remake all maps with: python tools/make_depth\.py \S+/gta/images --out "
        r"\S+/gta/depth_any --layout gta --model small --overwrite$",
    ),
    "colored depth": (
        lambda f: write_png(f.gta / "depth_any/00000.png", np.zeros((30, 46, 3), np.uint8)),
        r"expected an 8- or 16-bit grayscale PNG .*got 3 channels. .*not a colored picture of it\. "
        r"Make new maps with: python tools/make_depth\.py \S+/gta/images --out .*--overwrite$",
    ),
    "cut depth": (
        lambda f: _cut(f.gta / "depth_any/00000.png"),
        r"Depth of the image .*cut off.* Make missing maps with: python tools/make_depth\.py "
        r"\S+/gta/images --out \S+/gta/depth_any --layout gta --model small$",
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_broken_file_is_an_error_that_names_it(files, case):
    harm, message = BROKEN[case]
    harm(files)
    dataset = build_dataset(files.source())
    with pytest.raises(ValueError, match=message):
        dataset[0]


@pytest.mark.parametrize("margins", [[1, 2, 3], [-1, 0, 0, 0], [1.5, 0, 0, 0]])
def test_margins_must_be_four_pixel_counts_or_shares(files, margins):
    with pytest.raises(ValueError, match="crop_pseudo_margins.* expected .* got"):
        build_dataset(files.target(crop_pseudo_margins=margins))


def test_margins_must_leave_a_part_of_the_image(files):
    dataset = build_dataset(files.target(crop_pseudo_margins=[20, 10, 0, 0]))
    with pytest.raises(ValueError, match="that leave a part of .*46x30"):
        dataset[0]


def test_unknown_key_or_type_suggests_the_nearest(files):
    with pytest.raises(ValueError, match="unknown key 'deb_dir'.*did you mean 'dep_dir'"):
        build_dataset(files.source(deb_dir="x"))
    with pytest.raises(ValueError, match="did you mean 'GTADataset'"):
        build_dataset(files.source(type="GTADatset"))
