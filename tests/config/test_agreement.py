"""Values that contradict each other are refused before anything is built or read."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmseg.apis.agreement import check_feature_distance
from mmseg.apis.checks import check_folder, check_run, check_test
from mmseg.apis.train_options import TrainOptions
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
        (
            {"lr_config": {"_delete_": True, "policy": "warmup_linear"}},
            "lr_config.warmup_iters: expected how many .* got 0. Set it, or policy='poly'",
        ),
        (
            {
                "lr_config": {
                    "_delete_": True,
                    "policy": "warmup_linear",
                    "warmup": "exp",
                    "warmup_iters": 5,
                }
            },
            "lr_config.warmup: expected none with policy='warmup_linear', .* got 'exp'. Remove",
        ),
        (
            {
                "lr_config": {
                    "_delete_": True,
                    "policy": "warmup_linear",
                    "warmup_iters": 5,
                    "power": 2.0,
                }
            },
            "lr_config.power: expected it with policy='poly' only",
        ),
        ({"lr_config.policy": "fixed"}, "lr_config.power: expected it with policy='poly' only"),
        ({"lr_config.min_lr": 0.5}, "optimizer.lr: expected at least lr_config.min_lr, 0.5"),
        (
            {"data.train.source.classes": ["a", "a"]},
            "data.train.source.classes: expected classes of different names, got 'a' twice",
        ),
        (
            {"data.val.palette": [[1, 2, 3]]},
            "data.val.palette: expected a palette of 19 colors, .* got 1",
        ),
        (
            {"data.train.source.classes": ["a", "b"]},
            r"train.target.classes: expected the classes of data.train.source, \['a', 'b'\], got",
        ),
        (
            {
                f"data.{s}.classes": ["a", "b"]
                for s in ("train.source", "train.target", "val", "test")
            },
            r"decode_head.num_classes: expected 2, .* got 19. .* classes=\[…\]",
        ),
        (
            {"data.val.type": "CustomDataset", "data.val.img_suffix": ".png"},
            r"data.val.classes: expected the names of the classes, got none. Set classes=",
        ),
        ({"data.val.ann_dir": None}, "data.val.ann_dir: expected the folder of the labels, got"),
        ({"data.train.source.ann_dir": None}, "source.ann_dir: expected the folder of the labels"),
        (
            {"data.train.source.pipeline.1": {"type": "LoadImageFromFile"}},
            "source.pipeline: expected LoadAnnotations among the steps",
        ),
        (
            {"uda.vfm_feature_dist": {"model_name": "vit_small_patch14_reg4_dinov2"}},
            "vfm_feature_dist.pretrained: expected the file of the frozen .*, got none. Name it",
        ),
        (
            {"uda.imnet_feature_dist_lambda": 0.1},
            "imnet_feature_dist_lambda: expected 0 without pretrained .*, got 0.1. Set model",
        ),
        (
            {
                "uda.imnet_feature_dist_lambda": 0.1,
                "uda.imnet_feature_dist_classes": [6],
                "uda.imnet_feature_dist_scale_min_ratio": None,
                "model.pretrained": "some.pth",
            },
            "expected uda.imnet_feature_dist_scale_min_ratio with imnet_feature_dist_classes",
        ),
        ({"uda.dataset": "gat"}, "uda.dataset to be a registered .*, got 'gat'.*mean 'gta'"),
        ({"uda.croped_images_path": None}, "expected uda.croped_images_path with uda.matrix_path"),
        ({"uda": None}, "train.type: expected the labeled dataset alone without a section uda"),
        ({**BOTH_SIZES, "uda.reference_quirks": True}, "reference_quirks: expected False"),
    ],
)
def test_a_contradiction_names_its_key(options: dict[str, Any], words: str) -> None:
    cfg = config(**{"data.train.target.crop_pseudo_margins": None})
    cfg.merge_options(options)
    with pytest.raises(ConfigError, match=words):
        check_feature_distance(check_run(cfg))


def test_source_crops_of_another_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessing.json").write_text(json.dumps({"crop_size": [64, 128]}))
    cfg = config(**{"uda.croped_images_path": str(tmp_path / "images")})
    with pytest.raises(ConfigError, match="source crops of 128x128 pixels, .* got 128x64 pixels"):
        check_run(cfg)


def test_a_method_for_two_domains_needs_both() -> None:
    cfg = config()
    cfg.data["train"] = cfg.data.train.source
    with pytest.raises(ConfigError, match="type: expected a UDADataset with a section uda"):
        check_run(cfg)


@pytest.mark.parametrize("place", ["model.pretrained", "model.backbone.pretrained"])
def test_weights_to_measure_a_distance_to_have_two_places(place: str, tmp_path: Path) -> None:
    """A run that goes on, as one of an earlier release, is what it was."""
    weight = {"uda.imnet_feature_dist_lambda": 0.1}
    check_feature_distance(check_run(config(**weight, **{place: "some.pth"})))
    run = check_run(config(**weight, load_from="some.pth", work_dir=str(tmp_path)))
    for resume in (None, "none", "auto"):
        with pytest.raises(ConfigError, match="imnet_feature_dist_lambda: expected 0 without"):
            check_folder(run, TrainOptions(resume=resume))
    (tmp_path / "latest.pth").touch()
    for resume in ("auto", "elsewhere/latest.pth"):
        check_folder(run, TrainOptions(resume=resume))


def test_a_target_and_a_test_set_need_no_classes_and_no_labels() -> None:
    unlabeled = {"type": "CustomDataset", "ann_dir": None, "img_suffix": ".png"}
    parts = {f"data.{s}.{k}": v for s in ("train.target", "test") for k, v in unlabeled.items()}
    check_run(config(**parts))
    check_test(config(**parts))


def test_a_test_set_has_the_classes_of_the_network() -> None:
    with pytest.raises(ConfigError, match="num_classes: expected 2, .* of CityscapesDataset"):
        check_test(config(**{"data.test.classes": ["a", "b"]}))


def test_what_is_not_used_need_not_agree() -> None:
    """Samples of no fixed size, and the classes of a feature distance that is switched off."""
    cfg = config(**{"uda.imnet_feature_dist_classes": [6, 19]})
    for side in ("source", "target"):
        pipeline = cfg.data.train[side].pipeline
        del pipeline[6], pipeline[3]
    check_run(cfg)
