"""Where the depth map of an image lies, and which command makes it."""

import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_data import Files

from mmseg.datasets import (
    ACDCDataset,
    CityscapesDataset,
    CustomDataset,
    DarkZurichDataset,
    GTADataset,
    SynthiaDataset,
    build_dataset,
)
from mmseg.datasets.depth.bins import depth_to_bins, make_command
from mmseg.datasets.depth.record import DepthRecord

NAMES = {
    GTADataset: {"00001.png": "00001.png", "b/x.png": "b/x.png", "a.jpg/x.png": "a.jpg/x.png"},
    SynthiaDataset: {"0000000.png": "0000000.png"},
    CustomDataset: {
        "x.jpg": "x.png",
        "a.b/x.y.jpeg": "a.b/x.y.png",
        "x.PNG": "x.png",
        "x_leftImg8bit.png": "x_leftImg8bit.png",
    },
    CityscapesDataset: {
        "aachen/aachen_000000_000019_leftImg8bit.png": "aachen/aachen_000000_000019_depth.png",
        "leftImg8bit/leftImg8bit_leftImg8bit.jpg": "depth/depth_depth.png",
    },
    ACDCDataset: {"fog/train/a/x_rgb_anon.png": "fog/train/a/x_rgb_anon.png"},
    DarkZurichDataset: {"a/x_rgb_anon.png": "a/x_rgb_anon.png"},
}


@pytest.mark.parametrize("cls", NAMES)
def test_a_map_is_a_png_with_the_images_relative_name(cls: type[CustomDataset]) -> None:
    """The rule needs no dataset: the command that makes the maps uses it, too."""
    for image, depth in NAMES[cls].items():
        assert cls.depth_name(image) == depth


def test_images_of_another_format_are_trained_with_png_maps(files: Files) -> None:
    """The map's values arrive: white noise of 30x46 pixels, of which the sample is a part."""
    image = cv2.imread(str(files.gta / "images/00000.png"))
    folder = files.gta / "photos/a.b"
    folder.mkdir(parents=True)
    assert cv2.imwrite(str(folder / "x.jpg"), image)
    (files.gta / "depth_any/a.b").mkdir()
    stored = np.random.default_rng(3).integers(0, 256, (30, 46), np.uint8)
    assert cv2.imwrite(str(files.gta / "depth_any/a.b/x.png"), stored)
    pipeline = [{"type": "LoadImageFromFile"}]
    config = files.source(type="CustomDataset", img_dir="photos", ann_dir=None, pipeline=pipeline)
    dataset = build_dataset(config)
    np.testing.assert_array_equal(dataset[0]["depth"], depth_to_bins(stored))


def test_the_command_has_the_folders_and_the_layout_of_the_data_set(files: Files) -> None:
    """Without a layout where the images are none of the known ones, so that names are kept."""
    root = "python tools/make_depth.py"
    gta, city = files.gta, files.cityscapes
    assert build_dataset(files.source()).depth_command == (
        f"{root} {gta}/images --out {gta}/depth_any --layout gta --model small"
    )
    assert build_dataset(files.target()).depth_command == (
        f"{root} {city}/leftImg8bit/train --out {city}/depth_any/train --layout cityscapes "
        "--model small"
    )
    source = build_dataset(files.source(type="SynthiaDataset", dep_dir=None))
    assert source.depth_command == f"{root} {gta}/images --out DIR --layout synthia --model small"
    pipeline = [{"type": "LoadImageFromFile"}]
    other = build_dataset(files.source(img_suffix="1.png", ann_dir=None, pipeline=pipeline))
    assert other.depth_command == f"{root} {gta}/images --out {gta}/depth_any --model small"
    for cls in (ACDCDataset, DarkZurichDataset, CustomDataset):
        assert cls.DEPTH_LAYOUT is None


def test_the_command_names_the_model_that_made_the_maps_that_are_there(tmp_path: Path) -> None:
    """So that the maps that are missing become like the others; quoted for a shell."""
    folder = tmp_path / "my maps"
    before = shlex.split(make_command("my images", folder))
    assert before == [
        "python", "tools/make_depth.py", "my images", "--out", str(folder), "--model", "small",
    ]  # fmt: skip
    DepthRecord({"source": "drawn"}, {}).write(folder)
    assert shlex.split(make_command("my images", folder)) == before
    DepthRecord({"source": "model"}, {"model": "pretrained/my model"}).write(folder)
    assert shlex.split(make_command("my images", folder)) == [*before[:-1], "pretrained/my model"]
    (folder / "depth.json").write_text("{")
    assert shlex.split(make_command("my images", folder)) == before
