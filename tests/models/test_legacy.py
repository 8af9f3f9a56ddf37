"""Old names in configs of the family."""

import copy
from typing import Any

import pytest
import torch
from models_cfg import daformer

from mmseg.config.checking import origin
from mmseg.config.language.config_dict import ConfigDict
from mmseg.config.registry import HEADS, Entry
from mmseg.models import build_segmentor, build_train_model
from mmseg.models.legacy import with_present_names
from mmseg.system.errors import ConfigError

OLD_HRDA = {
    "type": "MultiResEncoderDecoder",
    "backbone": {"type": "mit_b5", "ema_drop_path_rate": 0.1, "style": "pytorch"},
    "decode_head": {
        "type": "MultiResAttentionWrapper",
        "single_scale_head": "UniHead",
        "decoder_params": {
            "embed_dims": 256,
            "fusion": "a",
            "fusion_cfg": {"type": "aspp", "fusion": "b", "dilations": (1, 6)},
        },
    },
    "hr_settings": [{"type": "UniHead", "fusion": "c"}, ("UniHead", 3)],
}
NEW_HRDA = {
    "type": "HRDAEncoderDecoder",
    "backbone": {"type": "mit_b5", "style": "pytorch"},
    "decode_head": {
        "type": "HRDAHead",
        "single_scale_head": "DAFormerHead",
        "decoder_params": {"embed_dims": 256, "fusion_cfg": {"type": "aspp", "dilations": (1, 6)}},
    },
    "hr_settings": [{"type": "DAFormerHead"}, ("UniHead", 3)],
}


def old_daformer() -> dict[str, Any]:
    cfg = daformer("mit_b0", channels=16, embed=16)
    cfg["backbone"]["ema_drop_path_rate"] = 0.1
    cfg["decode_head"]["type"] = "UniHead"
    cfg["decode_head"]["decoder_params"]["fusion_cfg"]["fusion"] = True
    cfg["decode_head"]["decoder_params"]["fusion"] = None
    return cfg


def test_old_names_become_present_ones_and_the_section_stays() -> None:
    before = copy.deepcopy(OLD_HRDA)
    assert with_present_names(OLD_HRDA) == NEW_HRDA
    assert before == OLD_HRDA
    assert with_present_names(NEW_HRDA) == NEW_HRDA


def test_only_the_head_that_had_it_loses_fusion() -> None:
    section = {"type": "DAFormerHead", "decoder_params": {"fusion": 1}, "neck": {"fusion": 2}}
    assert with_present_names(section) == section


def test_a_config_still_knows_its_files() -> None:
    section = ConfigDict(OLD_HRDA, origin="old.py")
    present = with_present_names(section)
    assert type(present) is type(present.decode_head) is ConfigDict
    assert origin(present.decode_head.decoder_params, "embed_dims") == "old.py: "
    assert present.to_dict() == NEW_HRDA
    assert section.to_dict() == OLD_HRDA


def test_a_class_that_somebody_registers_under_an_old_name_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(HEADS._entries, "UniHead", Entry(dict, dict))
    section = {"type": "UniHead", "decoder_params": {"fusion": 1}}
    assert with_present_names(section) == section


def test_networks_and_methods_are_built_from_old_configs() -> None:
    cfg = old_daformer()
    before = copy.deepcopy(cfg)
    new = build_segmentor(daformer("mit_b0", channels=16, embed=16)).state_dict()
    network = build_segmentor(cfg)
    assert type(network.decode_head).__name__ == "DAFormerHead"
    assert {k: v.shape for k, v in network.state_dict().items()} == {
        k: v.shape for k, v in new.items()
    }
    uda = {"type": "DACS", "alpha": 0.99, "pseudo_threshold": 0.2}
    method: Any = build_train_model({"model": cfg, "uda": uda, "runner": {"max_iters": 3}})
    for twin in (method.model, method.ema_model):
        assert twin.state_dict().keys() == new.keys()
    assert cfg == before
    network.load_state_dict(new)
    assert all(torch.equal(v, new[k]) for k, v in network.state_dict().items())


def test_other_unknown_keys_are_still_named() -> None:
    cfg = old_daformer()
    cfg["decode_head"]["decoder_params"]["fuson_cfg"] = {}
    with pytest.raises(ConfigError, match="'fuson_cfg' in decoder_params of DAFormerHead"):
        build_segmentor(cfg)
