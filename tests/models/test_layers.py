"""Building blocks: convolution modules, norms, activations, resizing, memory layout."""

from contextlib import nullcontext

import pytest
import torch
from network_records import EQUAL, normal
from torch import nn

from mmseg.models.decode_heads.aspp_layer import ASPPLayer
from mmseg.models.layers import (
    ConvModule,
    DepthwiseSeparableConvModule,
    build_activation,
    build_norm,
    join,
    map_to_tokens,
    norm,
    plain_convolutions,
    resize,
    synchronize_batch_norm,
    tokens_to_map,
)
from mmseg.system.errors import ConfigError


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("separable", [True, False])
def test_torch_s_dilated_depthwise_convolutions_get_a_contiguous_map(separable, plain):
    """Convolutions of other kinds get what comes, as do those that a CPU has instead."""
    seen = []
    layer = ASPPLayer(4, 3, separable, (1, 2), pool=False)
    for conv in (m for m in layer.aspp_modules.modules() if isinstance(m, nn.Conv2d)):
        conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    x = normal("x", 2, 4, 5, 6).float().contiguous(memory_format=torch.channels_last)
    with plain_convolutions() if plain else nullcontext():
        layer(x)
    assert set(seen) == {separable and plain}


def test_gradients_of_joined_maps_are_those_of_each_map():
    maps = [normal("a", 2, 3, 6, 8), normal("b", 2, 5, 3, 4), normal("c", 2, 2, 2, 3)]
    maps = [x.to(memory_format=torch.channels_last).requires_grad_() for x in maps]
    grad = normal("g", 2, 10, 6, 8)
    join(maps).backward(grad)
    for x, part in zip(maps, grad.split([3, 5, 2], dim=1), strict=True):
        (expected,) = torch.autograd.grad(resize(x, (6, 8)), x, part.contiguous())
        torch.testing.assert_close(x.grad, expected, **EQUAL)


def test_conv_module_convolves_normalizes_and_activates():
    module = ConvModule(3, 5, 3, padding=1, norm_cfg={"type": "BN"}).double().eval()
    module.bn.running_mean.copy_(normal("mean", 5))
    x = normal("x", 2, 3, 6, 8)
    torch.testing.assert_close(module(x), module.bn(module.conv(x)).relu(), **EQUAL)
    assert module.conv.bias is None


def test_conv_module_without_norm_has_a_bias_that_starts_at_zero():
    module = ConvModule(3, 5, 1, act_cfg=None).double()
    assert (module.conv.bias == 0).all()
    x = normal("x", 2, 3, 6, 8)
    torch.testing.assert_close(module(x), module.conv(x), **EQUAL)


def test_conv_module_starts_from_kaiming_weights():
    """Of 23,040 weights; 3 % are more than 6 standard errors of their spread."""
    module = ConvModule(40, 64, 3)  # fan out 576
    assert module.conv.weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.03)
    leaky = ConvModule(40, 64, 3, act_cfg={"type": "LeakyReLU", "negative_slope": 0.5})
    assert leaky.conv.weight.std().item() == pytest.approx((2 / 1.25 / 576) ** 0.5, rel=0.03)


def test_separable_convolution_has_the_names_of_published_checkpoints():
    norm = {"type": "GN", "num_groups": 2}
    module = DepthwiseSeparableConvModule(4, 6, 3, padding=2, dilation=2, norm_cfg=norm).double()
    shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    assert shapes["depthwise_conv.conv.weight"] == (4, 1, 3, 3)
    assert shapes["pointwise_conv.conv.weight"] == (6, 4, 1, 1)
    assert shapes["pointwise_conv.gn.bias"] == (6,)
    assert module(normal("x", 2, 4, 5, 7)).shape == (2, 6, 5, 7)


@pytest.mark.parametrize(
    ("cfg", "name", "kind"),
    [
        ({"type": "BN"}, "bn", nn.BatchNorm2d),
        ({"type": "SyncBN"}, "bn", nn.SyncBatchNorm),
        ({"type": "LN", "eps": 1e-6}, "ln", nn.LayerNorm),
        ({"type": "GN", "num_groups": 3}, "gn", nn.GroupNorm),
        ({"type": "IN"}, "in", nn.InstanceNorm2d),
    ],
)
def test_norms_are_found_by_their_config_names(cfg, name, kind):
    built_name, layer = build_norm(cfg, 6)
    assert built_name == name
    assert isinstance(layer, kind)


def test_synchronized_norm_is_plain_batch_norm_on_one_process():
    synchronized, plain = (build_norm({"type": kind}, 3)[1].double() for kind in ("SyncBN", "BN"))
    x = 2 * normal("x", 4, 3, 5, 6) + 1
    torch.testing.assert_close(synchronized.train()(x), plain.train()(x), **EQUAL)
    torch.testing.assert_close(synchronized.running_var, plain.running_var, **EQUAL)
    torch.testing.assert_close(synchronized.eval()(x), plain.eval()(x), **EQUAL)


def small_network(kind="BN"):
    layers = [ConvModule(3, 4, 1, norm_cfg={"type": kind}), nn.LayerNorm(5), nn.BatchNorm2d(4)]
    return nn.Sequential(*layers)


def test_batch_norm_stays_local_unless_asked_and_on_one_process(monkeypatch):
    network = small_network()
    synchronize_batch_norm(network, is_wanted=True, device=torch.device("cuda"))
    monkeypatch.setattr(norm, "world_size", lambda: 2)
    synchronize_batch_norm(network, is_wanted=False, device=torch.device("cuda"))
    assert type(network[0].bn) is type(network[2]) is nn.BatchNorm2d


def test_synchronized_batch_norm_keeps_state_and_parameters(monkeypatch):
    monkeypatch.setattr(norm, "world_size", lambda: 2)
    network = small_network()
    network[0].bn.running_mean.copy_(normal("mean", 4))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    parameters = dict(network.named_parameters())
    synchronize_batch_norm(network, is_wanted=True, device=torch.device("cuda"))
    assert isinstance(network[0].bn, nn.SyncBatchNorm)
    assert isinstance(network[2], nn.SyncBatchNorm)
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert all(value is parameters[key] for key, value in network.named_parameters())


@pytest.mark.parametrize(("kind", "is_wanted"), [("BN", True), ("SyncBN", False)])
def test_synchronized_batch_norm_needs_gpus(monkeypatch, kind, is_wanted):
    monkeypatch.setattr(norm, "world_size", lambda: 2)
    cause = "sync_bn=True" if is_wanted else "norm_cfg type='SyncBN'"
    with pytest.raises(ConfigError, match=f"^{cause}: expected a GPU for each of the 2 processes"):
        synchronize_batch_norm(small_network(kind), is_wanted, torch.device("cpu"))
    monkeypatch.setattr(norm, "world_size", lambda: 1)
    synchronize_batch_norm(small_network(kind), is_wanted, torch.device("cpu"))


def test_a_frozen_norm_has_no_trainable_parameters():
    _, layer = build_norm({"type": "BN", "requires_grad": False}, 3)
    assert not any(p.requires_grad for p in layer.parameters())


def test_unknown_norm_key_and_activation_suggest_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'SyncBN'"):
        build_norm({"type": "SyncBatchNorm"}, 3)
    with pytest.raises(ConfigError, match="unknown key 'momentun'.*'momentum'"):
        build_norm({"type": "BN", "momentun": 0.1}, 3)
    with pytest.raises(ConfigError, match="did you mean 'ReLU'"):
        build_activation({"type": "Relu"})


@pytest.mark.parametrize("kind", ["ReLU", "GELU", "PReLU", "LeakyReLU", "SiLU", "Sigmoid"])
def test_activations_are_found_by_their_config_names(kind):
    assert type(build_activation({"type": kind})).__name__ == kind


def test_resize_keeps_a_map_of_the_right_size_and_samples_bilinearly():
    x = torch.tensor([[[[0.0, 4.0]]]])
    assert resize(x, (1, 2)) is x
    assert resize(x, (1, 4)).flatten().tolist() == [0, 1, 3, 4]
    corners = resize(x, (1, 5), align_corners=True).flatten().tolist()
    assert corners == pytest.approx([0, 1, 2, 3, 4])


@pytest.mark.parametrize("images", [1, 2])
def test_a_map_of_tokens_is_known_to_be_channels_last_by_what_follows(images):
    feature = tokens_to_map(normal("t", images, 15, 4), (3, 5))
    resized = resize(feature, (6, 7))
    assert resized.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(resized, resize(feature.contiguous(), (6, 7)), **EQUAL)


def test_tokens_become_a_map_and_tokens_again_without_a_copy():
    tokens = normal("t", 2, 15, 4)
    feature = tokens_to_map(tokens, (3, 5))
    assert feature.shape == (2, 4, 3, 5)
    assert torch.equal(feature[1, :, 2, 4], tokens[1, 14])
    assert map_to_tokens(feature).data_ptr() == tokens.data_ptr()
    assert torch.equal(map_to_tokens(feature), tokens)
