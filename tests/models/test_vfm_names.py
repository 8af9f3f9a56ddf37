"""Released files of VFM-UDA and VFM-UDA++: every key has its place, and nothing in them runs."""

import json
import logging
import re
from contextlib import suppress

import pytest
import torch
from crafted_files import TRICKS
from timm_builds import TINY, build
from vfm_records import RECORDS, segmentor

from mmseg.engine.checkpoint import CheckpointError, load_start, load_weights
from mmseg.system.safe_loading import UnsafeFileError, load_safely
from mmseg.system.vfm_names import LICENSE, our_names, released_names

KEYS = json.loads((RECORDS / "keys.json").read_text())
OTHERS = ("network_ema.out.weight", "network_feature_extractor.a", "network_feature_head.b")


def network_of(family, size, **options):
    """Return a network of a released file; `options` make its ViT smaller."""
    size = size.partition("_")[0]
    vit = {"type": "TIMMBackbone", "model_name": f"vit_{size}_patch14_dinov2", **options}
    width = options.get("model_kwargs", {}).get("embed_dim")
    width = width or {"small": 384, "base": 768, "large": 1024}[size]
    if family == "VFM-UDA++":
        return segmentor("PyramidHead", {"type": "ViTAdapter", "vit": vit}, width)
    return segmentor("LightHead", {**vit, "final_norm": True, "mask_token": True}, width)


@pytest.mark.parametrize(
    ("family", "size"),
    [(f, s) for f in ("VFM-UDA++", "VFM-UDA") for s in KEYS[f] if s in KEYS["parameters"][f]],
)
def test_every_released_key_has_its_place_and_back(family, size):
    with torch.device("meta"):
        network = network_of(family, size)
    own = {key: list(value.shape) for key, value in network.state_dict().items()}
    released = {f"network.{key}": shape for key, shape in KEYS[family][size]}
    assert our_names({**released, **dict.fromkeys(OTHERS, [])}) == own
    assert released_names(own) == released
    counted = sum(p.numel() for p in network.parameters())
    assert counted == KEYS["parameters"][family][size]["network"]


def test_every_key_of_metas_vit_with_registers_has_its_place():
    """timm adds the position of CLS to CLS itself."""
    with torch.device("meta"):
        network = build("vit_large_patch14_reg4_dinov2", mask_token=True)
    theirs = dict(KEYS["VFM-UDA++"]["frozen_vitl14_reg"])
    theirs["reg_token"], theirs["pos_embed"] = theirs.pop("register_tokens"), [1, 1369, 1024]
    assert {key: list(v.shape) for key, v in network.state_dict().items()} == theirs


@pytest.mark.parametrize("family", ["VFM-UDA++", "VFM-UDA"])
def test_a_released_file_loads_to_test_and_to_start_from(family, tmp_path, caplog):
    options = {"model_kwargs": {**TINY, "embed_dim": 16, "depth": 4}}
    ours, other = (network_of(family, "small", **options) for _ in range(2))
    state = {**released_names(ours.state_dict()), **{k: torch.ones(2) for k in OTHERS}}
    path = tmp_path / "released.ckpt"
    torch.save({"state_dict": state, "epoch": 3, "global_step": 40000}, path)
    with caplog.at_level(logging.INFO):
        load_weights(other, path)
    torch.testing.assert_close(other.state_dict(), ours.state_dict(), rtol=0, atol=0)
    assert [r.message for r in caplog.records if r.name == "mmseg"] == [LICENSE]
    third = network_of(family, "small", **options)
    assert load_start(third, path).endswith(LICENSE)
    torch.testing.assert_close(third.state_dict(), ours.state_dict(), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="expected a teacher"):
        load_weights(other, path, "teacher")
    vit = build(pretrained=str(path), mask_token=family == "VFM-UDA", **options)
    if family == "VFM-UDA++":
        vit.drop_norm()
    vit.init_weights()
    prefix = "backbone." if family == "VFM-UDA" else "backbone.vit."
    for key, value in vit.state_dict().items():
        assert torch.equal(value, ours.state_dict()[prefix + key])


class Anything:
    """Something that no other program knows."""

    def __init__(self):
        self.parts = [torch.nn.Linear(2, 3), {"a": 1}]


class AttributeDict(dict):
    """A dictionary of a class of its own, as Lightning has them."""


WEIGHTS = {"a": torch.ones(2), "b": torch.arange(3)}
LIGHTNING = {"pytorch-lightning_version": "2.1", "state_dict": WEIGHTS}


def test_of_a_file_of_lightning_the_weights_alone_are_taken(tmp_path, caplog):
    path, more = tmp_path / "untrimmed.ckpt", AttributeDict(network=Anything(), kind=Anything)
    torch.save({**LIGHTNING, "hyper_parameters": more}, path)
    with caplog.at_level(logging.INFO):
        found = load_safely(path, "a checkpoint")
    assert found.keys() == {"state_dict"}
    torch.testing.assert_close(found["state_dict"], WEIGHTS)
    assert re.search("Took the weights alone from .*untrimmed.ckpt'.*Anything", caplog.text)
    torch.save({**LIGHTNING, "state_dict": {**WEIGHTS, "c": Anything()}}, path)
    with pytest.raises(UnsafeFileError, match="Anything"):
        load_safely(path, "a checkpoint")


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_in_a_file_of_lightning_runs(trick, tmp_path):
    marker, path = tmp_path / "executed", tmp_path / "untrimmed.ckpt"
    torch.save({**LIGHTNING, "hyper_parameters": AttributeDict(a=TRICKS[trick](marker))}, path)
    with suppress(UnsafeFileError):  # torch refuses some modules, whatever replaces them
        assert load_safely(path, "a checkpoint").keys() == {"state_dict"}
    assert not marker.exists()
