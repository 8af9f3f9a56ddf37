"""ACDC and Dark Zurich in the layouts that people have, and results per condition."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmseg.config import inference_steps, load_config
from mmseg.datasets import build_dataset
from mmseg.datasets.acdc import CONDITIONS
from mmseg.datasets.image_files import write_label
from mmseg.engine.evaluator import Evaluator
from mmseg.visualization.palettes import save_picture

CONFIGS = Path(__file__).parents[2] / "configs/_base_/datasets"
SIZE = (20, 35)  # rows, columns
COUNTS = {"fog": 1, "night": 2, "rain": 1, "snow": 1}


def write_image(root: Path, part: str, name: str, values: int) -> None:
    """Write an image, its label of one class, and its depth map."""
    picture = np.full((*SIZE, 3), 60 + values, np.uint8)
    save_picture(root / f"rgb_anon/{part}/{name}_rgb_anon.png", picture)
    write_label(root / f"gt/{part}/{name}_gt_labelTrainIds.png", np.full(SIZE, values, np.uint8))
    write_label(root / f"depth_any/{part}/{name}_rgb_anon.png", np.full(SIZE, 9, np.uint8))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The layout of ACDC's archives."""
    for number, condition in enumerate(CONDITIONS):
        for part in ("train", "val", "train_ref"):
            for index in range(COUNTS[condition]):
                write_image(tmp_path, f"{condition}/{part}/SEQ", f"SEQ_{number}{index}", number)
    return tmp_path


def sections(root: Path, kind: str = "acdc") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return target and validation set of the family's config, in `root`."""
    data = load_config(CONFIGS / f"uda_cityscapes_to_{kind}_512x512").data.to_dict()
    target, val = data["train"]["target"], data["val"]
    for section in (target, val):
        section["data_root"] = str(root)
    target["dep_dir"] = str(root / "depth_any" / Path(target["dep_dir"]).relative_to(
        f"data/{'acdc' if kind == 'acdc' else 'dark_zurich'}/depth_any"
    ))  # fmt: skip
    val["pipeline"] = inference_steps((SIZE[1], SIZE[0]), {"mean": [0] * 3, "std": [1] * 3})
    return target, val


def test_archive_of_acdc_is_read_as_the_flat_layout_is(archive: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    for number, condition in enumerate(CONDITIONS):
        for index in range(COUNTS[condition]):
            for part in ("train", "val"):
                write_image(flat, part, f"SEQ_{number}{index}", number)
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    for top in ("rgb_anon", "gt"):
        with zipfile.ZipFile(zipped / f"{top}_trainval.zip", "w") as file:
            for path in sorted((archive / top).rglob("*.png")):
                file.write(path, path.relative_to(archive))
    shutil.copytree(archive / "depth_any", zipped / "depth_any")
    for root in (archive, flat, zipped):
        target, val = (build_dataset(section) for section in sections(root))
        names = [Path(info["filename"]).name for info in target.img_infos]
        assert names == [f"SEQ_{name}_rgb_anon.png" for name in ("00", "10", "11", "20", "30")]
        assert len(val) == len(target)
        assert (target[1]["depth"] < 255).any(), "the depth map of the image is read"
        assert [int(val.gt_label(i)[0, 0]) for i in range(len(val))] == [0, 1, 1, 2, 3]


def test_dark_zurich_pairs_frames_of_the_night_with_labels(tmp_path: Path) -> None:
    write_image(tmp_path, "train/night/GOPR0", "GOPR0_frame_7", 3)
    write_image(tmp_path, "train/day/GOPR0", "GOPR0_frame_8", 3)
    write_image(tmp_path, "val/night/GOPR1", "GOPR1_frame_9", 3)
    target, val = (build_dataset(section) for section in sections(tmp_path, "darkzurich"))
    assert [info["filename"] for info in target.img_infos] == ["GOPR0/GOPR0_frame_7_rgb_anon.png"]
    assert "depth" in target[0]
    assert val.gt_label(0).shape == SIZE


class Constant(nn.Module):
    """Predicts class 1 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward_test(self, images: list[torch.Tensor], metas: list[Any]) -> list[np.ndarray]:
        return [np.ones(SIZE, np.uint8)]


def test_results_per_condition_add_up_to_the_whole(archive: Path) -> None:
    """Class 1 everywhere; right in the two images at night, whose IoU of class 1 is 1.

    In all: 2 of 5 images, so IoU 2/5 of class 1, 0 of the others, and the mean over 4 classes.
    """
    evaluation = Evaluator(build_dataset(sections(archive)[1], test_mode=True))(Constant())
    assert evaluation is not None
    record = evaluation.record
    assert record["num_images"] == 5
    assert record["mIoU"] == 0.1
    assert list(record["conditions"]) == list(CONDITIONS)
    night, rain = record["conditions"]["night"], record["conditions"]["rain"]
    assert (night["num_images"], night["mIoU"], night["IoU"]["sidewalk"]) == (2, 1.0, 1.0)
    assert night["IoU"]["road"] is None
    assert (rain["num_images"], rain["mIoU"]) == (1, 0.0)
    assert record["split"].endswith("rgb_anon/*/val")


def test_flat_layout_tells_no_condition(tmp_path: Path) -> None:
    write_image(tmp_path, "val", "SEQ_1", 1)
    write_image(tmp_path, "train", "SEQ_1", 1)
    evaluation = Evaluator(build_dataset(sections(tmp_path)[1], test_mode=True))(Constant())
    assert evaluation is not None
    assert "conditions" not in evaluation.record
