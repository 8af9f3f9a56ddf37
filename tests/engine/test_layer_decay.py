"""Learning rates of vision transformers by depth, and of batches by size."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from test_optimizer import Owner, settings
from torch import nn

from mmseg.config import Config
from mmseg.engine.layer_decay import vit_factors
from mmseg.engine.optimizer import build_optimizer
from mmseg.system.errors import ConfigError

RECORDS = Path(__file__).parents[1] / "golden/V/recipe.json.gz"
OPTIMIZERS = json.loads(gzip.decompress(RECORDS.read_bytes()))["optim"]
CASES = [(family, size) for family in ("VFM-UDA++", "VFM-UDA") for size in OPTIMIZERS[family]]
OF_THE_VIT = ("cls_token", "pos_embed", "patch_embed.", "blocks.")


def our_name(name: str, family: str) -> str:
    """Return the name that a recorded parameter has in the student of a training method."""
    head = "decode_head." if family == "VFM-UDA++" else "decode_head.upscale."
    inner = name.removeprefix("network.encoder.")
    if inner != name:
        is_wrapped = family == "VFM-UDA++" and inner.startswith(OF_THE_VIT)
        return f"model.backbone.{'vit.' if is_wrapped else ''}{inner}"
    if name == "network.out.weight":
        return "model.decode_head.conv_seg.weight"
    renamed = name.replace("network.upscale.", f"model.{head}")
    return renamed.replace("network_feature_head.", "feature_head.")


class Trained(Owner):
    """Trains all but its teacher `ema_model` and `frozen`."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [p for n, p in self.named_parameters() if not n.startswith(("ema_model", "frozen"))]


@pytest.mark.parametrize(("family", "size"), CASES)
def test_every_parameter_has_the_rate_and_decay_of_the_golden(family: str, size: str) -> None:
    """Exact to 1e-12. The teacher and a frozen ViT of another depth beside it change nothing."""
    record = OPTIMIZERS[family][size]
    expected = {
        our_name(name, family): (group["lr"], group["weight_decay"])
        for group in record["groups"]
        for name in group["params"]
    }
    others = [n.replace("model.", "ema_model.", 1) for n in expected if n.startswith("model.")]
    method = Trained([*expected, *others, "frozen.backbone.blocks.3.weight"])
    decay = 0.9 if family == "VFM-UDA++" else 1.0
    cfg = {
        "type": "AdamW",
        "lr": record["lr"],
        "weight_decay": 0.01,
        "sqrt_batch": True,
        "paramwise_cfg": {"layer_decay": decay, "backbone_lr_mult": 0.1},
    }
    optimizer = build_optimizer(method, Config(cfg), record["gpus"] * record["per_gpu"])
    found = settings(optimizer, method)
    assert found.keys() == expected.keys()
    for name, rates in expected.items():
        assert found[name] == pytest.approx(rates, rel=1e-12), name
    for group in optimizer.param_groups:
        assert group["initial_lr"] == group["lr"]
        assert (list(group["betas"]), group["eps"]) == ([0.9, 0.999], 1e-8)


def test_factors_by_hand() -> None:
    """Three blocks, δ = 1/2, m = 1/4; block 2 is the last, whatever the order of the names."""
    names = [
        *(f"backbone.blocks.{i}.w" for i in (2, 0, 1)),
        *("backbone.norm.weight", "backbone.reg_token", "decode_head.blocks.0.w", "neck.w"),
    ]
    assert vit_factors(names, 0.5, 0.25) == {
        "backbone.blocks.2.w": 1 / 4,
        "backbone.blocks.1.w": 1 / 8,
        "backbone.blocks.0.w": 1 / 16,
        "backbone.norm.weight": 1 / 32,
        "backbone.reg_token": 1 / 32,
    }


@pytest.mark.parametrize(
    ("model_name", "depth"),
    [
        ("vit_small_patch14_dinov2", 12),
        ("vit_large_patch14_reg4_dinov2", 24),
        ("eva02_tiny_patch14_224", 12),
        ("beit_base_patch16_224", 12),
        ("deit3_small_patch16_224", 12),
    ],
)
@pytest.mark.parametrize("place", ["backbone", "backbone.vit"])
def test_blocks_of_any_vit_of_timm_are_counted(model_name: str, depth: int, place: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(model_name, num_classes=0)
    names = [name for name, _ in network.named_parameters()]
    found = vit_factors([f"model.{place}.{name}" for name in names], 0.5, 1.0)
    assert len(found) == len(names)
    for name in names:
        number = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else 0
        assert found[f"model.{place}.{name}"] == 0.5 ** (depth - number), name


def test_depth_comes_on_top_of_the_other_rules() -> None:
    model = Owner(["backbone.blocks.0.norm1.weight", "backbone.cls_token", "decode_head.w"])
    rules: dict[str, Any] = {"layer_decay": 0.5, "backbone_lr_mult": 0.1}
    rules["custom_keys"] = {"norm": {"decay_mult": 0.0}, "head": {"lr_mult": 10.0}}
    optimizer = build_optimizer(model, {"type": "SGD", "lr": 2.0, "weight_decay": 0.3,
                                        "paramwise_cfg": rules})  # fmt: skip
    assert settings(optimizer, model) == {
        "backbone.blocks.0.norm1.weight": (pytest.approx(0.2), 0.0),
        "backbone.cls_token": (pytest.approx(0.1), pytest.approx(0.3)),
        "decode_head.w": (pytest.approx(20.0), pytest.approx(0.3)),
    }


def test_a_frozen_vit_is_counted_but_not_trained() -> None:
    model = Owner(["backbone.vit.blocks.0.w", "backbone.vit.blocks.1.w", "backbone.up.weight"])
    model.get_submodule("backbone.vit").requires_grad_(False)
    cfg = {"type": "SGD", "lr": 2.0, "paramwise_cfg": {"layer_decay": 0.5}}
    assert settings(build_optimizer(model, cfg), model) == {"backbone.up.weight": (2.0, 0)}


@pytest.mark.parametrize(
    ("names", "got"),
    [
        (["backbone.block1.0.attn.q.weight"], "a backbone with 'backbone.block1.0.attn.q.weight'"),
        (["backbone.layers_0.blocks.0.w"], "a backbone with 'backbone.layers_0.blocks.0.w'"),
        (["decode_head.blocks.0.w"], "no backbone"),
    ],
)
@pytest.mark.parametrize("rule", [{"layer_decay": 0.9}, {"backbone_lr_mult": 0.1}])
def test_other_networks_are_refused_with_what_to_use_instead(
    names: list[str], got: str, rule: dict[str, float]
) -> None:
    message = f"expected a vision transformer, .* got {got}. Use paramwise_cfg.custom_keys="
    with pytest.raises(ConfigError, match=message):
        build_optimizer(Owner(names), {"type": "SGD", "lr": 0.1, "paramwise_cfg": rule})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paramwise_cfg": {"layer_decay": 0}}, "layer_decay: expected a number above 0, got 0"),
        ({"paramwise_cfg": {"layer_decay": 1.1}}, "layer_decay: expected a number of at most 1"),
        ({"paramwise_cfg": {"layer_decai": 1}}, "'layer_decai' .*; did you mean 'layer_decay'"),
        ({"paramwise_cfg": {"backbone_lr_mult": -1}}, "lr_mult: expected a number of at least 0"),
        ({"sqrt_batch": 2}, "sqrt_batch.*: expected True or False, got 2"),
        ({"sqrt_batc": True}, "'sqrt_batc' .*; did you mean 'sqrt_batch'"),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_optimizer(
            Owner(["backbone.blocks.0.w"]), Config({"type": "AdamW", "lr": 1e-3, **changes}), 8
        )


def test_the_rate_grows_with_the_root_of_the_images_per_step() -> None:
    model = Owner(["a.weight"])
    cfg = {"type": "AdamW", "lr": 0.5}
    for sqrt_batch, images, expected in ((True, 9, 1.5), (False, 9, 0.5), (False, None, 0.5)):
        optimizer = build_optimizer(model, {**cfg, "sqrt_batch": sqrt_batch}, images)
        assert settings(optimizer, model)["a.weight"][0] == expected
    with pytest.raises(
        ValueError, match=r"images_per_step for optimizer.sqrt_batch=True, got None"
    ):
        build_optimizer(model, {**cfg, "sqrt_batch": True})
