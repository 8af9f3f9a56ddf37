"""Tiny datasets on disk."""

import json
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 30, 46  # of every image file
NORM = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}


def train_pipeline(crop=(18, 22), scale=(46, 30), cat_max_ratio=1.0):
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations"},
        {"type": "Resize", "img_scale": scale},
        {"type": "RandomCrop", "crop_size": crop, "cat_max_ratio": cat_max_ratio},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "Normalize", **NORM},
        {"type": "Pad", "size": crop, "pad_val": 0, "seg_pad_val": 255},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_semantic_seg"]},
    ]


def make_pipeline_test(scale=(46, 30), **options):
    steps = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        {"type": "Normalize", **NORM},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    augment = {"type": "MultiScaleFlipAug", "img_scale": scale, "transforms": steps, **options}
    return [{"type": "LoadImageFromFile"}, augment]


def write_png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


class Files:
    """Writes a GTA-like and a Cityscapes-like folder and knows the configs that read them."""

    def __init__(self, root: Path) -> None:
        self.gta, self.cityscapes = root / "gta", root / "cityscapes"

    def write(self, source: int = 4, target: int = 3) -> None:
        rng = np.random.default_rng(1)
        statistics = []
        for i in range(source):
            name = f"{i:05d}"
            write_png(self.gta / f"images/{name}.png", self._image(rng))
            label = rng.choice([0, 2, i % 19, 255], size=(5, 23)).astype(np.uint8)
            label = np.kron(label, np.ones((6, 2), np.uint8))  # (30, 46)
            write_png(self.gta / f"labels/{name}_labelTrainIds.png", label)
            write_png(self.gta / f"depth_any/{name}.png", self._gray(rng))
            counts = {str(c): int((label == c).sum()) for c in np.unique(label) if c != 255}
            statistics.append({**counts, "file": f"gta/labels/{name}_labelTrainIds.png"})
        self.write_statistics(statistics)
        for i in range(target):
            name = f"ulm/ulm_{i:06d}_000019"
            root = self.cityscapes
            write_png(root / f"leftImg8bit/train/{name}_leftImg8bit.png", self._image(rng))
            label = rng.integers(0, 19, (HEIGHT, WIDTH)).astype(np.uint8)
            write_png(root / f"gtFine/train/{name}_gtFine_labelTrainIds.png", label)
            write_png(root / f"depth_any/train/{name}_depth.png", self._gray(rng))

    def write_statistics(self, statistics: list[dict]) -> None:
        by_class: dict[str, list] = {}
        for entry in statistics:
            for key, n in entry.items():
                if key != "file":
                    by_class.setdefault(key, []).append([entry["file"], n])
        (self.gta / "sample_class_stats.json").write_text(json.dumps(statistics))
        (self.gta / "samples_with_class.json").write_text(json.dumps(by_class))

    def source(self, **options) -> dict:
        return {
            "type": "GTADataset",
            "data_root": str(self.gta) + "/",
            "img_dir": "images",
            "ann_dir": "labels",
            "dep_dir": str(self.gta / "depth_any"),
            "pipeline": train_pipeline(),
            **options,
        }

    def target(self, **options) -> dict:
        return {
            "type": "CityscapesDataset",
            "data_root": str(self.cityscapes),
            "img_dir": "leftImg8bit/train",
            "ann_dir": "gtFine/train",
            "dep_dir": str(self.cityscapes / "depth_any/train"),
            "pipeline": train_pipeline(),
            **options,
        }

    def pairs(self, **options) -> dict:
        return {
            "type": "UDADataset",
            "source": self.source(),
            "target": self.target(),
            **options,
        }

    @staticmethod
    def _image(rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    @staticmethod
    def _gray(rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
