"""State-dict keys and shapes are those of the published checkpoints, in order (goldens A and K)."""

import copy
import json

import pytest
import torch
from golden_init import init_module
from network_records import RECORDS, keys_and_shapes

from mmseg.models import BACKBONES, build_segmentor, build_train_model
from mmseg.system.errors import ConfigError

SHIPPED = [
    "configs/cdda/gta2cs_cdda_daformer.py",
    "configs/cdda/gtaHR2csHR_cdda_hrda.py",
    "configs/cdda/gtaHR2csHR_cdda_mic.py",
    "configs/cdda/synthia2cs_cdda_daformer.py",
    "configs/cdda/synthiaHR2csHR_cdda_hrda.py",
    "configs/cdda/synthiaHR2csHR_cdda_mic.py",
    "configs/daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py",
    "configs/hrda/gtaHR2csHR_hrda.py",
    "configs/mic/gtaHR2csHR_mic_hrda.py",
]
KEYS_OF_BASES = json.loads((RECORDS.parent / "K" / "segmentor_keys.json").read_text())
BASES = [name for name, entry in KEYS_OF_BASES["configs"].items() if "key_lists" in entry]
PLACEHOLDER = "IMTRv21_5"  # a backbone that a child config replaces


def build_without_values(cfg):
    """Build a network on the meta device: keys and shapes, but no memory and no numbers."""
    with torch.device("meta"):
        return build_segmentor({**copy.deepcopy(cfg), "pretrained": None})


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_configs_have_the_recorded_keys(config, golden):
    """Of the bare network, and of the whole training method (CDDA adds nothing to the state)."""
    cfg = json.loads((golden / "B" / "config_dump.json").read_text())[config]
    recorded = json.loads((golden / "A" / "keys.json").read_text())
    entry = recorded["configs"][config]
    network = build_without_values(cfg["model"])
    assert keys_and_shapes(network) == recorded["key_lists"][entry["segmentor"]]
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == entry["segmentor_num_params"]
    cfg["model"]["pretrained"] = cfg["uda"]["matrix_path"] = None
    with torch.device("meta"):
        method = build_train_model(cfg)
    assert keys_and_shapes(method) == recorded["key_lists"][entry["uda"]]


def test_all_nine_shipped_configs_are_compared(golden):
    assert sorted(json.loads((golden / "A" / "keys.json").read_text())["configs"]) == SHIPPED


@pytest.mark.parametrize("config", BASES)
def test_model_bases_have_the_recorded_keys(config, golden):
    bases = json.loads((golden / "K" / "base_configs.json").read_text())
    cfg = bases[config]["model"]
    if cfg["backbone"]["type"] == PLACEHOLDER:
        cfg["backbone"]["type"] = "mit_b5"
    entry = KEYS_OF_BASES["configs"][config]
    expected = sum((KEYS_OF_BASES["key_lists"][name] for name in entry["key_lists"]), [])
    network = build_without_values(cfg)
    assert keys_and_shapes(network) == expected
    assert (network.neck is not None) == entry["with_neck"]


def test_all_model_bases_but_an_unfinished_one_are_compared(golden):
    """`segformer.py` also leaves the width of its head to a child config."""
    bases = json.loads((golden / "K" / "base_configs.json").read_text())
    models = {name for name in bases if "/models/" in name}
    assert models - set(BASES) == {"configs/_base_/models/segformer.py"}
    with pytest.raises(ConfigError, match="needs the key 'embed_dim'"):
        build_segmentor(
            {**bases["configs/_base_/models/segformer.py"]["model"], "backbone": {"type": "mit_b5"}}
        )


def test_a_filled_network_survives_a_round_trip_of_its_state_dict():
    cfg = {"type": "mit_b0"}
    first, second = init_module(BACKBONES.build(cfg)), BACKBONES.build(cfg)
    second.load_state_dict(first.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
