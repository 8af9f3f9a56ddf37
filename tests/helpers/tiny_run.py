"""A dataset of a few small pictures, and a config that trains on them in seconds."""

from pathlib import Path
from typing import Any

import models_cfg
import numpy as np
from golden_init import blocky_labels

from mmseg.config import Config
from mmseg.datasets.image_files import write_label
from mmseg.datasets.labels import PALETTE
from mmseg.visualization.palettes import colorize, save_picture

HEIGHT, WIDTH, CROP = 72, 96, 64
NORM = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}


def write_pictures(root: Path) -> None:
    """Write 3 source images, 2 target images for training and 3 for evaluation."""
    for number in range(3):
        _write(root / "source/images", root / "source/labels", f"{number:05d}", ".png", "")
    for split, count in (("train", 2), ("val", 3)):
        for number in range(count):
            name = f"town/town_00000{number}_000019"
            folders = root / "target/leftImg8bit" / split, root / "target/gtFine" / split
            _write(*folders, name, "_leftImg8bit.png", "_gtFine")


def _write(images: Path, labels: Path, name: str, suffix: str, middle: str) -> None:
    label = blocky_labels(f"tiny:{images.name}:{name}", HEIGHT, WIDTH, range(19), 24)
    save_picture(images / f"{name}{suffix}", colorize(label, PALETTE))
    write_label(labels / f"{name}{middle}_labelTrainIds.png", label.astype(np.uint8))


def config(root: Path, source: str = "GTADataset", **changes: Any) -> dict[str, Any]:
    """Return a whole config: DAFormer on MiT-B0, two iterations."""
    evaluation = _part("CityscapesDataset", root / "target", "leftImg8bit/val", "gtFine/val")
    evaluation["pipeline"] = _test_steps()
    model = models_cfg.daformer("mit_b0", channels=16, embed=16)
    train = {
        "type": "UDADataset",
        "source": _part(source, root / "source", "images", "labels"),
        "target": _part("CityscapesDataset", root / "target", "leftImg8bit/train", "gtFine/train"),
    }
    data = {"samples_per_gpu": 2, "workers_per_gpu": 0, "train": train}
    return {
        "model": {k: v for k, v in model.items() if k != "train_cfg"},
        "data": {**data, "val": evaluation, "test": evaluation},
        "uda": {"type": "DACS", "alpha": 0.99, "pseudo_threshold": 0.2},
        "optimizer": {
            "type": "AdamW",
            "lr": 1e-3,
            "paramwise_cfg": {"custom_keys": {"head": {"lr_mult": 10.0}}},
        },
        "lr_config": {"policy": "poly", "power": 1.0, "min_lr": 0.0, "by_epoch": False},
        "runner": {"type": "IterBasedRunner", "max_iters": 2},
        "checkpoint_config": {"by_epoch": False, "interval": 2},
        "evaluation": {"interval": 2, "metric": "mIoU"},
        "log_config": {"interval": 1, "img_interval": 2, "hooks": []},
        "seed": 5,
        "name": "tiny",
        **changes,
    }


def write_config(path: Path, values: dict[str, Any]) -> Path:
    """Write a config file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Config(values).dump(path)
    return path


def _part(kind: str, root: Path, images: str, labels: str) -> dict[str, Any]:
    folders = {"data_root": str(root), "img_dir": images, "ann_dir": labels}
    return {"type": kind, **folders, "pipeline": _train_steps()}


def _train_steps() -> list[dict[str, Any]]:
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "Resize", "img_scale": (WIDTH, HEIGHT)},
        {"type": "RandomCrop", "crop_size": (CROP, CROP)},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "Normalize", **NORM},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"]},
    ]


def _test_steps() -> list[dict[str, Any]]:
    transforms = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        {"type": "Normalize", **NORM},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    scale = {"img_scale": (WIDTH, HEIGHT), "flip": False}
    return [
        {"type": "LoadImageFromFile"},
        {"type": "MultiScaleFlipAug", **scale, "transforms": transforms},
    ]
