"""Values that contradict each other are refused before anything is built or read."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmseg.apis.checks import check_run
from mmseg.config import Config, load_config
from mmseg.datasets import DATASETS, CityscapesDataset
from mmseg.system.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CROP = "data.train.{}.pipeline.{}.{}"  # side, step, key
SOURCE_SIZE = {
    CROP.format("source", 3, "crop_size"): (128, 96),
    CROP.format("source", 6, "size"): (128, 96),
}
BOTH_SIZES = SOURCE_SIZE | {
    CROP.format("target", 3, "crop_size"): (128, 96),
    CROP.format("target", 6, "size"): (128, 96),
}


@DATASETS.register()
class ThreeClasses(CityscapesDataset):
    CLASSES = ("a", "b", "c")


def config(**options: Any) -> Config:
    cfg = load_config(ROOT / "configs/demo/cdda_mic.py")
    cfg.merge_options({"model.backbone.embed_dims": [8, 12, 16, 24], "seed": 0, **options})
    return cfg


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "configs").glob("[a-z]*/*.py")))
def test_every_shipped_config_agrees_with_itself(name: str) -> None:
    (file,) = (ROOT / "configs").glob(f"[a-z]*/{name}.py")
    check_run(load_config(file))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"model.decode_head.num_classes": 4},
            "model.decode_head.num_classes: expected 19, .* got 4",
        ),
        ({"data.val.type": "ThreeClasses"}, "data.val.type: expected the classes of GTADataset"),
        (
            {"uda.imnet_feature_dist_classes": [6, 19], "uda.imnet_feature_dist_lambda": 0.1},
            "imnet_feature_dist_classes: expected classes below 19, .* got 19",
        ),
        (SOURCE_SIZE, "data.train.target: expected samples of 96x128 pixels .* got 128x128"),
        ({"model.hr_crop_size": (64, 129)}, "model.hr_crop_size: expected a part of .* 129x64"),
        (
            {"uda.pseudo_weight_ignore_top": 100, "uda.pseudo_weight_ignore_bottom": 28},
            "pseudo_weight_ignore_top: expected margins that leave some of the 128 rows",
        ),
        (
            {
                "uda.pseudo_weight_ignore_bottom": 5,
                "data.train.target.crop_pseudo_margins": [1, 2, 3, 4],
            },
            "pseudo_weight_ignore_bottom: expected either .* got both",
        ),
        (
            {"uda.mask_generator.mask_block_size": 300},
            "mask_generator.mask_block_size: expected blocks at most .* got 300",
        ),
        ({CROP.format("target", 8, "keys"): ["gt_semantic_seg"]}, "keys: expected 'img' among"),
        ({"data.val.pipeline": [{"type": "LoadImageFromFile"}]}, "expected MultiScaleFlipAug as"),
        (
            {"data.test.pipeline.1.transforms": [{"type": "Collect", "keys": ["img"]}]},
            "data.test.pipeline: expected DefaultFormatBundle or ImageToTensor",
        ),
        ({"model.backbone.in_chans": 4}, "model.backbone.in_chans: expected 3, .* got 4"),
        ({"data.train.source.test_mode": True}, "source.test_mode: expected False .* got True"),
        ({"data.val.ignore_index": 7}, "data.val.ignore_index: expected 255, .* got 7"),
        ({"lr_config.warmup_iters": 0}, "lr_config.warmup_iters: expected how many .* got 0"),
        ({"lr_config.policy": "fixed"}, "lr_config.power: expected it with policy='poly' only"),
        ({"lr_config.min_lr": 0.5}, "optimizer.lr: expected at least lr_config.min_lr, 0.5"),
        ({**BOTH_SIZES, "uda.reference_quirks": True}, "reference_quirks: expected False"),
    ],
)
def test_a_contradiction_names_its_key(options: dict[str, Any], words: str) -> None:
    cfg = config(**{"data.train.target.crop_pseudo_margins": None})
    cfg.merge_options(options)
    with pytest.raises(ConfigError, match=words):
        check_run(cfg)


def test_source_crops_of_another_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessing.json").write_text(json.dumps({"crop_size": [64, 128]}))
    cfg = config(**{"uda.croped_images_path": str(tmp_path / "images")})
    with pytest.raises(ConfigError, match="source crops of 128x128 pixels, .* got 128x64 pixels"):
        check_run(cfg)


def test_what_is_not_used_need_not_agree() -> None:
    """Samples of no fixed size, and the classes of a feature distance that is switched off."""
    cfg = config(**{"uda.imnet_feature_dist_classes": [6, 19]})
    for side in ("source", "target"):
        pipeline = cfg.data.train[side].pipeline
        del pipeline[6], pipeline[3]
    check_run(cfg)
