"""DAFormer's head with every layer type: recorded outputs, losses, gradients (goldens C2, C4)."""

import copy
import json

import models_cfg
import numpy as np
import pytest
import torch
from golden_init import blocky_labels
from network_records import (
    EQUAL,
    NOISE,
    RECORDS,
    filled,
    keys_and_shapes,
    normal,
    recorded_arrays,
)

from mmseg.models import HEADS
from mmseg.models.decode_heads import build_fusion_layer
from mmseg.models.decode_heads.isa_layer import ISALayer
from mmseg.system.errors import ConfigError

HEAD_RECORDS = {
    name: record
    for name, record in json.loads((RECORDS / "C4_heads.json").read_text()).items()
    if record["config"]["type"] == "DAFormerHead"
}
CHANNELS = (16, 32, 40, 64)


@pytest.fixture(scope="module")
def features():
    return [normal(f"C4:mit{i}", 2, c, 32 >> i, 32 >> i) for i, c in enumerate(CHANNELS)]


@pytest.fixture(scope="module")
def label():
    maps = [blocky_labels(f"C4:gt{b}", 128, 128, range(19), 16, 0.05) for b in range(2)]
    return torch.from_numpy(np.stack(maps))[:, None]


@pytest.fixture
def cfg():
    return copy.deepcopy(HEAD_RECORDS["DAFormerHead_sepaspp"]["config"])


@pytest.mark.parametrize("name", list(HEAD_RECORDS))
def test_keys_logits_losses_and_gradients_equal_the_recorded_ones(name, features, label):
    record = HEAD_RECORDS[name]
    head = HEADS.build(record["config"])
    assert keys_and_shapes(head) == record["keys"]
    with torch.no_grad():
        logits = filled(head).eval()(features)
    np.testing.assert_allclose(logits, recorded_arrays("C4_heads.npz")[f"{name}_eval"], **NOISE)
    losses = head.train().forward_train(features, None, label)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(record["train_losses"], 1e-6)
    losses["loss_seg"].backward()
    norms = {k: p.grad.norm().item() for k, p in head.named_parameters() if p.grad is not None}
    # The recording is up to 5e-5 away, and holds rounding (2e-6) as the gradient of biases in front
    # of a batch norm, which have none.
    assert norms == pytest.approx(record["grad_norms"], rel=1.5e-4, abs=1e-5)


def test_full_width_head_equals_the_recorded_one():
    channels = [32, 64, 160, 256]
    head = filled(HEADS.build(models_cfg.daformer_head(channels, 256, 256))).eval()
    features = [normal(f"C2:feat{i}", 2, c, 32 >> i, 32 >> i) for i, c in enumerate(channels)]
    with torch.no_grad():
        logits = head(features)
    np.testing.assert_allclose(logits, recorded_arrays("C2_daformer.npz")["head_b0_256"], **NOISE)


def test_interlaced_attention_equals_a_slow_loop_on_a_map_that_needs_padding():
    """Among the pixels with equal offset in their neighborhood, then within each neighborhood."""
    layer = filled(ISALayer(5, 6, isa_channels=4, down_factor=(4, 3))).eval()
    x = normal("isa", 2, 5, 6, 7)  # padded to 8 × 9: one row or column on each side
    with torch.no_grad():
        y = torch.nn.functional.pad(layer.in_conv(x), (1, 1, 1, 1))
        spread, local = torch.zeros_like(y), torch.zeros_like(y)
        for i in range(4):
            for j in range(3):
                spread[:, :, i::4, j::3] = layer.global_relation(y[:, :, i::4, j::3])
        for top in range(0, 8, 4):
            for left in range(0, 9, 3):
                box = (..., slice(top, top + 4), slice(left, left + 3))
                local[box] = layer.local_relation(spread[box])
        expected = local[:, :, 1:7, 1:8]
        torch.testing.assert_close(layer(x), expected, **EQUAL)


def test_initial_classifier_is_narrow_and_its_bias_zero(cfg):
    """Of 7,600 weights; 5 % are more than 6 standard errors of their spread."""
    head = HEADS.build({**cfg, "channels": 400})
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (head.conv_seg.bias == 0).all()


def test_embed_neck_cfg_can_repeat_embed_cfg(cfg, features):
    cfg["decoder_params"]["embed_cfg"] = {"type": "conv", "kernel_size": 1, "act_cfg": None}
    cfg["decoder_params"]["embed_neck_cfg"] = "same_as_embed_cfg"
    keys = HEADS.build(cfg).state_dict()
    assert keys["embed_layers.3.conv.weight"].shape == (24, 64, 1, 1)


def test_identity_passes_a_level_on_and_rejects_another_width(features):
    layer = build_fusion_layer({"type": "id", "norm_cfg": None}, 16, 16)
    assert layer(features[0]) is features[0]
    with pytest.raises(ConfigError, match="as many output as input channels .* got 16 -> 24"):
        build_fusion_layer({"type": "id"}, 16, 24)


def test_logits_on_request_are_those_of_forward(cfg, features, label):
    head = HEADS.build(cfg).double().eval()
    result = head.forward_train(features, None, label, return_logits=True)
    assert set(result) == {"loss_seg", "acc_seg", "logits"}
    torch.testing.assert_close(result["logits"], head(features), **EQUAL)


def test_dropout_drops_whole_channels_in_training_only(cfg, features):
    head = HEADS.build({**cfg, "dropout_ratio": 0.5}).double()
    assert isinstance(head.dropout, torch.nn.Dropout2d)
    head.eval()
    assert torch.equal(head(features), head(features))
    assert HEADS.build({**cfg, "dropout_ratio": 0}).dropout is None


class TestMistakes:
    def test_unknown_layer_type_suggests_the_nearest(self, cfg):
        cfg["decoder_params"]["fusion_cfg"]["type"] = "asp"
        with pytest.raises(ConfigError, match="unknown fusion layer type 'asp'.*'aspp'"):
            HEADS.build(cfg)

    def test_unknown_layer_key_suggests_the_nearest(self, cfg):
        cfg["decoder_params"]["fusion_cfg"]["dilation"] = (1, 2)
        with pytest.raises(ConfigError, match="unknown key 'dilation'.*'dilations'"):
            HEADS.build(cfg)

    def test_unknown_decoder_parameter_suggests_the_nearest(self, cfg):
        cfg["decoder_params"]["embed_dim"] = 64
        with pytest.raises(ConfigError, match="'embed_dim' in decoder_params.*'embed_dims'"):
            HEADS.build(cfg)

    def test_missing_decoder_parameter_is_named(self, cfg):
        del cfg["decoder_params"]["fusion_cfg"]
        with pytest.raises(ConfigError, match="needs the key 'fusion_cfg'"):
            HEADS.build(cfg)

    def test_layer_widths_belong_to_the_head(self):
        with pytest.raises(ConfigError, match="unknown key 'in_channels' in fusion layer 'mlp'"):
            build_fusion_layer({"type": "mlp", "in_channels": 3}, 4, 5)

    def test_embed_dims_must_fit_the_levels(self, cfg):
        cfg["decoder_params"]["embed_dims"] = [8, 16]
        with pytest.raises(ConfigError, match=r"one per feature level \(4\), got \[8, 16\]"):
            HEADS.build(cfg)

    def test_in_channels_and_in_index_must_have_one_length(self, cfg):
        with pytest.raises(ConfigError, match="expected as many in_channels as in_index"):
            HEADS.build({**cfg, "in_index": [0, 1, 2]})

    def test_lists_are_needed_for_several_features(self, cfg):
        with pytest.raises(ConfigError, match="expected lists as in_channels and in_index"):
            HEADS.build({**cfg, "in_index": 3})

    def test_features_of_another_width_are_named(self, cfg, features):
        head = HEADS.build({**cfg, "in_channels": [16, 32, 40, 48]})
        with pytest.raises(
            ConfigError, match=r"\[16, 32, 40, 48\] channels .* got \[16, 32, 40, 64"
        ):
            head(features)

    def test_an_index_beyond_the_features_is_named(self, cfg, features):
        head = HEADS.build({**cfg, "in_index": [0, 1, 2, 4]})
        with pytest.raises(ConfigError, match=r"in_index \[0, 1, 2, 4\], got 4 features"):
            head(features)

    def test_unknown_input_transform_suggests_the_nearest(self, cfg):
        with pytest.raises(ConfigError, match="'multiple_selec'. Did you mean 'multiple_select'"):
            HEADS.build({**cfg, "input_transform": "multiple_selec"})
