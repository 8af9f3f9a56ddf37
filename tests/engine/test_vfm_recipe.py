"""Data, learning rates and evaluation of VFM-UDA in whole runs, and in the shipped base configs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import tiny_run
import torch

from mmseg.apis.agreement import process_warnings
from mmseg.apis.checks import check_run
from mmseg.apis.train import images_per_step, run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config, load_config, read_run, short_side_steps
from mmseg.datasets.image_files import read_label
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.optimizer import build_optimizer
from mmseg.models import build_train_model

ROOT = Path(__file__).parents[2]
VIT = {
    "type": "TIMMBackbone",
    "model_name": "vit_small_patch14_dinov2",
    "model_kwargs": {"embed_dim": 12, "depth": 2, "num_heads": 2, "img_size": 42},
    "inner_size": 56,
    "final_norm": True,
}
HEAD = {"type": "FCNHead", "in_channels": 12, "channels": 8, "num_classes": 19, "num_convs": 1}
RULES = {"layer_decay": 0.5, "backbone_lr_mult": 0.1}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    statistics, by_class = [], {}
    for file in sorted((root / "source/labels").glob("*.png")):
        name, counts = f"source/labels/{file.name}", np.bincount(read_label(file).ravel())
        present = {str(c): int(n) for c, n in enumerate(counts) if n and c < 19}
        statistics.append({**present, "file": name})
        for c, n in present.items():
            by_class.setdefault(c, []).append([name, n])
    (root / "source/sample_class_stats.json").write_text(json.dumps(statistics))
    (root / "source/samples_with_class.json").write_text(json.dumps(by_class))
    return root


def recipe(root: Path, **changes: Any) -> Config:
    """Return CDDA on a ViT of two blocks, with the recipe at a small scale: 4 iterations."""
    values = small_runs.config(
        root,
        model={"backbone": VIT, "decode_head": HEAD, "pretrained": None},
        uda={"imnet_feature_dist_lambda": 0.0},
        lr_config={"policy": "warmup_linear", "warmup_iters": 3, "warmup_ratio": 0.1},
        runner={"max_iters": 4},
        log_config={"interval": 1},
        **changes,
    )
    values["lr_config"] = {"policy": "warmup_linear", "warmup_iters": 3, "warmup_ratio": 0.1}
    values["optimizer"] = {"type": "AdamW", "lr": 1e-3, "sqrt_batch": True, "paramwise_cfg": RULES}
    crop = (tiny_run.CROP,) * 2
    sizes = {"crop_size": crop, "stride": (crop[0] // 2,) * 2}
    values["model"]["test_cfg"] = {"mode": "slide", **sizes, "average": "softmax"}
    train = values["data"]["train"]
    train["source"]["pipeline"] = short_side_steps(100, crop, tiny_run.NORM)
    train["target"]["pipeline"] = short_side_steps(66, crop, tiny_run.NORM, labeled=False)
    train["target"]["crop_pseudo_margins"] = [0.03, 0.25, 0.03, 0.03]
    train["rare_class_sampling"] = {
        "min_pixels": 30,
        "class_temp": 0.05,
        "min_crop_ratio": 2.0,
        "cat_max_ratio": 0.5,
        "tries": 3,
    }
    values["data"]["val"] = {**values["data"]["val"], "test_short_side": 60}
    return Config(values)


def test_a_run_follows_the_recipe_and_two_and_two_iterations_are_four(
    material: Path, tmp_path: Path
) -> None:
    """The rate is 0.001·√2; its warm-up ends after three iterations, then it is 1/4 of that."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_training(recipe(material), TrainOptions(str(whole)))
    records = small_runs.logged(whole)
    base = 1e-3 * 2**0.5
    rates = [records["train", i]["lr"] / (0.025 * base) for i in (1, 2, 3, 4)]  # of the patches
    assert rates == pytest.approx([0.1, 0.55, 1.0, 0.25], rel=1e-9)
    (log,) = whole.glob("*.log")
    said = f"Learning rate: 0.001 x the root of 2 images per step = {base}"
    assert said in log.read_text(encoding="utf-8")
    results = json.loads((whole / "results.json").read_text())
    assert results["mIoU"] is not None
    groups = read_checkpoint(whole / "latest.pth")["optimizer"]["param_groups"]
    expected = {base, base * 0.1, base * 0.05, base * 0.025}
    assert sorted({g["initial_lr"] for g in groups}) == pytest.approx(sorted(expected), rel=1e-12)

    resumed = recipe(material)
    resumed["resume_from"] = str(whole / "iter_2.pth")
    run_training(resumed, TrainOptions(str(parts)))
    assert small_runs.differences(whole / "latest.pth", parts / "latest.pth") == []


def test_all_processes_and_waiting_gradients_count_for_a_step(
    material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = read_run(recipe(material, optimizer_config={"cumulative_iters": 3}, n_gpus=5))
    assert images_per_step(run) == 1 * 2 * 3
    (warning,) = process_warnings(run)
    assert warning.endswith(
        "2 images of each domain instead of 10, which is another experiment. max_iters stays as in "
        "the config."
    )
    monkeypatch.setattr("mmseg.system.processes.world_size", lambda: 4)
    assert images_per_step(run) == 4 * 2 * 3


@pytest.mark.parametrize("source", ["gta", "synthia"])
def test_the_base_configs_agree_and_give_the_rates_of_vfm_uda(source: str, tmp_path: Path) -> None:
    """On a small ViT: they build, with 8 images per step. Scales are 1440 for GTA, else 1024."""
    bases = [f"datasets/uda_{source}VFM_to_cityscapesHR_1024x1024", "uda/dacs"]
    bases += ["schedules/adamw_layerdecay_40k"]
    lines = [str(ROOT / f"configs/_base_/{name}.py") for name in bases]
    backbone = {**VIT, "pretrained": None}
    (tmp_path / "run.py").write_text(
        f"_base_ = {lines}\nseed = 42\n"
        f"model = dict(type='EncoderDecoder', backbone={backbone}, decode_head={HEAD})\n"
    )
    check_run(load_config(tmp_path / "run.py"))
    cfg = load_config(tmp_path / "run.py")
    with torch.device("meta"):
        method = build_train_model(cfg)
    optimizer = build_optimizer(method, cfg.optimizer, cfg.n_gpus * cfg.data.samples_per_gpu)
    rates = sorted({group["initial_lr"] for group in optimizer.param_groups})
    base = 5e-5 * 8**0.5
    assert rates == pytest.approx([base * 0.081, base * 0.09, base * 0.1, base], rel=1e-12)
    train = cfg.data.train
    steps = [train[role].pipeline for role in ("source", "target")]
    sides = [next(s.short_side for s in part if s.type == "Resize") for part in steps]
    assert sides == [1440 if source == "gta" else 1024, 1024]
    assert cfg.data.val.test_short_side == cfg.data.test.test_short_side == 1024
