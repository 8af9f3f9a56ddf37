"""Mix Transformer: recorded features (golden C1), stochastic depth, pre-trained files."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_init import init_module
from network_records import (
    EQUAL,
    NOISE,
    assert_matches_statistics,
    filled,
    normal,
    recorded_arrays,
)

from mmseg.models import BACKBONES
from mmseg.models.backbones.mix_transformer import EfficientAttention
from mmseg.models.layers import DropPath
from mmseg.system.errors import ConfigError

TINY = {
    "type": "MixVisionTransformer",
    "embed_dims": (8, 12, 20, 24),
    "num_heads": (1, 2, 5, 8),
    "depths": (1, 2, 1, 1),
}


@pytest.mark.parametrize("variant", ["b0", "b1", "b2", "b3", "b4", "b5"])
def test_features_equal_the_recorded_ones(variant):
    network = filled(BACKBONES.build({"type": f"mit_{variant}", "style": "pytorch"})).eval()
    with torch.no_grad():
        features = network(normal("C1:input", 1, 3, 64, 64))
    arrays = recorded_arrays("C1_mit.npz")
    for i, feature in enumerate(features):
        assert_matches_statistics(feature, f"C1/mit_{variant}/{i}")
        if f"mit_{variant}_f{i}" in arrays:
            np.testing.assert_allclose(feature, arrays[f"mit_{variant}_f{i}"], **NOISE)


def test_features_of_a_batch_of_wide_images_equal_the_recorded_ones():
    network = filled(BACKBONES.build({"type": "mit_b0"})).eval()
    with torch.no_grad():
        features = network(normal("C1:input2", 2, 3, 96, 160))
    for i, feature in enumerate(features):
        assert_matches_statistics(feature, f"C1/mit_b0_2x3x96x160/{i}")


@pytest.mark.parametrize("size", [(8, 12), (11, 9), (4, 4)])
def test_reduced_tokens_equal_those_of_the_strided_convolution(size):
    """The matrix product must drop the same border rows and columns as a convolution does."""
    attention = filled(EfficientAttention(dim=6, heads=2, sr_ratio=4))
    tokens = normal("tokens", 3, size[0] * size[1], 6)
    image = tokens.transpose(1, 2).reshape(3, 6, *size)
    expected = attention.norm(attention.sr(image).flatten(2).transpose(1, 2))
    torch.testing.assert_close(attention._reduce(tokens, size), expected, **EQUAL)


def test_attention_equals_a_slow_loop_over_heads_and_queries():
    attention = filled(EfficientAttention(dim=6, heads=2, sr_ratio=1))
    x = normal("x", 1, 5, 6)
    q = F.linear(x, attention.q.weight, attention.q.bias)[0]
    k, v = F.linear(x, attention.kv.weight, attention.kv.bias)[0].split(6, dim=1)
    context = torch.zeros_like(q)
    for head in (slice(0, 3), slice(3, 6)):
        for i in range(5):
            score = torch.stack([q[i, head] @ k[j, head] for j in range(5)]) / 3**0.5
            context[i, head] = sum(p * v[j, head] for j, p in enumerate(score.softmax(0)))
    expected = F.linear(context, attention.proj.weight, attention.proj.bias)
    torch.testing.assert_close(attention(x, (1, 5))[0], expected, **EQUAL)


def test_gradient_reaches_every_parameter():
    network = BACKBONES.build({**TINY, "drop_path_rate": 0.0}).double().train()
    network.init_weights()
    sum(feature.square().mean() for feature in network(normal("i", 2, 3, 64, 96))).backward()
    assert [k for k, p in network.named_parameters() if p.grad is None] == []


def test_stochastic_depth_grows_linearly_over_the_blocks():
    network = BACKBONES.build({**TINY, "drop_path_rate": 0.2})
    rates = [rate for rate in (0, 0.05, 0.1, 0.15, 0.2) for _ in range(2)]  # of both branches
    assert network.drop_path.rates == pytest.approx(rates)


def test_stochastic_depth_zeroes_whole_samples_and_keeps_the_mean():
    out = DropPath(0.25).train()(torch.ones(20_000, 3, 2))
    per_sample = out.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert per_sample.unique().tolist() == pytest.approx([0, 4 / 3])
    assert out.mean().item() == pytest.approx(1, abs=0.03)  # 7 standard errors


def test_stochastic_depth_follows_the_global_generator_and_stops_in_eval_mode():
    network = BACKBONES.build({**TINY, "drop_path_rate": 0.9}).double().train()
    image = normal("image", 4, 3, 64, 64)

    def last_feature(seed):
        torch.manual_seed(seed)
        return network(image)[-1]

    assert torch.equal(last_feature(1), last_feature(1))
    assert not torch.equal(last_feature(1), last_feature(2))
    network.eval()
    assert torch.equal(last_feature(1), last_feature(2))


def test_drop_path_rejects_a_rate_above_one():
    with pytest.raises(ConfigError, match="drop_path_rate.*below 1, got 1.5"):
        BACKBONES.build({**TINY, "drop_path_rate": 1.5})


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="embed_dims divisible by num_heads, got 8 and 3"):
        BACKBONES.build({**TINY, "num_heads": (3, 2, 5, 8)})


def test_an_unknown_backbone_and_an_unknown_key_are_named_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'mit_b5'"):
        BACKBONES.build({"type": "mitb5"})
    with pytest.raises(ConfigError, match="drop_path_rat.*did you mean 'drop_path_rate'"):
        BACKBONES.build({"type": "mit_b0", "drop_path_rat": 0.1})


def test_initial_weights_are_segformers():
    """The tolerances are more than 6 standard errors of the spread of so many weights."""
    network = BACKBONES.build({"type": "mit_b0"})
    network.init_weights()
    state = network.state_dict()
    assert state["block4.0.mlp.fc1.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    # depth-wise 3×3: fan out is 9
    spread = state["block4.0.mlp.dwconv.dwconv.weight"].std().item()
    assert spread == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert (state["patch_embed2.proj.bias"] == 0).all()
    assert (state["norm2.weight"] == 1).all()


class TestPretrainedFile:
    @pytest.fixture
    def source(self):
        return init_module(BACKBONES.build(TINY))

    def load(self, path):
        network = BACKBONES.build({**TINY, "pretrained": str(path)})
        network.init_weights()
        return network

    @pytest.mark.parametrize("level", [None, "state_dict", "model"])
    def test_is_read_at_every_level_and_its_classifier_is_ignored(self, source, level, tmp_path):
        state = {
            **source.state_dict(),
            "head.weight": torch.zeros(10, 24),
            "head.bias": torch.zeros(10),
        }
        torch.save(state if level is None else {level: state, "epoch": 3}, tmp_path / "mit.pth")
        loaded = self.load(tmp_path / "mit.pth").state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())

    def test_with_other_keys_or_shapes_is_an_error_that_names_them(self, source, tmp_path):
        state = source.state_dict()
        del state["norm1.weight"]
        state["norm9.weight"] = torch.zeros(3)
        state["norm2.bias"] = torch.zeros(5)
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(ConfigError) as error:
            self.load(tmp_path / "other.pth")
        message = str(error.value)
        assert "other.pth" in message
        assert "missing keys norm1.weight" in message
        assert "unexpected keys norm9.weight" in message
        assert "norm2.bias (5,) instead of (12,)" in message

    def test_of_another_backbone_lists_a_few_keys_and_counts_the_rest(self, tmp_path):
        torch.save({f"layer{i}.weight": torch.zeros(1) for i in range(9)}, tmp_path / "r.pth")
        with pytest.raises(ConfigError, match=r"layer0.weight, .* and 5 more"):
            self.load(tmp_path / "r.pth")

    def test_that_is_missing_says_where_to_get_it(self):
        with pytest.raises(FileNotFoundError, match=r"pretrained/none.pth.*SegFormer.*ImageNet"):
            self.load("pretrained/none.pth")

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
    def test_that_is_broken_says_so(self, content, tmp_path):
        (tmp_path / "broken.pth").write_bytes(content)
        with pytest.raises(ConfigError, match="expected a file of tensors.*broken.pth"):
            self.load(tmp_path / "broken.pth")

    def test_without_named_weights_says_so(self, tmp_path):
        torch.save([torch.zeros(2)], tmp_path / "list.pth")
        with pytest.raises(ConfigError, match="expected a state dict in .*list.pth.*, got list"):
            self.load(tmp_path / "list.pth")
