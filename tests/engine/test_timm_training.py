"""Backbones of timm are trained by CDDA like our own."""

import math
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.models import build_segmentor

ITERATIONS = 4
FOUR_LEVELS = {"in_channels": [4, 8, 16, 32]}  # of the DAFormer head
ONE_LEVEL = {"type": "FCNHead", "in_channels": 12, "channels": 8, "num_classes": 19, "num_convs": 1}
NETWORKS: dict[str, Any] = {
    "convolutional": (
        {
            "model_name": "convnext_atto",
            "model_kwargs": {"depths": (1, 1, 1, 1), "dims": FOUR_LEVELS["in_channels"]},
        },
        FOUR_LEVELS,
    ),
    "hierarchical": (
        {
            "model_name": "swin_tiny_patch4_window7_224",
            "model_kwargs": {"embed_dim": 4, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 2, 4)},
        },
        FOUR_LEVELS,
    ),
    "plain": (
        {
            "model_name": "vit_small_patch14_dinov2",
            "model_kwargs": {"embed_dim": 12, "depth": 2, "num_heads": 2, "img_size": 42},
            "inner_size": 56,
            "final_norm": True,
        },
        ONE_LEVEL,
    ),
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    return root


@pytest.mark.parametrize("kind", NETWORKS)
def test_cdda_trains_a_backbone_of_timm(kind: str, material: Path, tmp_path: Path) -> None:
    """Losses of four iterations are finite and all parameters move that reach the features."""
    backbone, head = NETWORKS[kind]
    values = small_runs.config(
        material,
        runner={"max_iters": ITERATIONS},
        log_config={"interval": 1},
        uda={"imnet_feature_dist_lambda": 0.0},
    )
    model = values["model"]
    model["pretrained"], model["backbone"] = None, {"type": "TIMMBackbone", **backbone}
    model["decode_head"] = head if "type" in head else {**model["decode_head"], **head}
    start = tmp_path / "start.pth"
    network = build_segmentor(model)
    network.init_weights()
    torch.save({"state_dict": network.state_dict()}, start)
    values["load_from"] = str(start)
    run_training(Config(values), TrainOptions(str(tmp_path / "run"), validate=False))

    records = small_runs.logged(tmp_path / "run")
    losses = [records["train", i + 1]["decode.loss_seg"] for i in range(ITERATIONS)]
    losses += [records["train", i + 1]["mix.decode.loss_seg"] for i in range(ITERATIONS)]
    assert all(math.isfinite(loss) for loss in losses)
    state = read_checkpoint(tmp_path / "run/latest.pth")["state_dict"]
    before = network.state_dict()
    moved = [k for k in before if not torch.equal(state[f"model.{k}"], before[k])]
    still = [k for k, _ in network.named_parameters() if k not in moved]
    unused = ("backbone.norm.", "backbone.head.norm.")  # behind the last feature
    assert [k for k in still if not k.startswith(unused)] == []
    assert any(not torch.equal(state[f"ema_model.{k}"], before[k]) for k in moved)
