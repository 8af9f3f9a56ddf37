"""ResNet, ResNeXt and ResNeSt: recorded features and keys (golden C5), sizes, what is frozen."""

import hashlib
import json

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
    keys_and_shapes,
    normal,
    recorded_arrays,
    recorded_statistics,
)
from torch import nn

from mmseg.config import load_config
from mmseg.models import BACKBONES, build_segmentor
from mmseg.models.backbones.residual_blocks import BasicBlock, BlockOptions, Bottleneck, Place
from mmseg.models.backbones.resnest import SplitAttention
from mmseg.system.errors import ConfigError

DILATED = {"dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1), "contract_dilation": True}
NARROW = {"stem_channels": 8, "base_channels": 8}
TINY = {"type": "ResNet", "depth": 18, **NARROW}
TINY_50 = {"type": "ResNetV1c", "depth": 50, **NARROW, **DILATED}
VARIANTS = ["r18", "r50v1c_d8", "r50v1c_d8_nocontract", "r50v1d_d8", "r101v1c_d8", "x50_32", "s50"]


def dilations_of(stage):
    return [block.conv2.dilation[0] for block in stage]


def norms_of(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


class TestRecords:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_features_equal_the_recorded_ones(self, variant):
        with torch.device("meta"):  # no time for initial weights that are replaced at once
            network = BACKBONES.build(recorded_statistics()[f"C5/{variant}/config"])
        network = filled(network.to_empty(device="cpu")).eval()
        with torch.no_grad():
            features = network(normal("C5:input", 1, 3, 64, 64))
        arrays = recorded_arrays("C5_resnet.npz")
        assert len(features) == 4
        for i, feature in enumerate(features):
            assert_matches_statistics(feature, f"C5/{variant}/{i}")
            if f"{variant}_f{i}" in arrays:
                np.testing.assert_allclose(feature, arrays[f"{variant}_f{i}"], **NOISE)

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_keys_and_shapes_equal_the_recorded_ones_in_order(self, variant):
        records = recorded_statistics()
        with torch.device("meta"):
            keys = keys_and_shapes(BACKBONES.build(records[f"C5/{variant}/config"]))
        expected = records[f"C5/{variant}/keys"]
        assert expected is None or keys == expected
        digest = hashlib.sha256(json.dumps(keys).encode()).hexdigest()
        assert digest == records[f"C5/{variant}/keys_sha"]

    @pytest.mark.parametrize("base", ["deeplabv2_r50-d8", "deeplabv2red_r50-d8"])
    def test_model_bases_have_the_recorded_keys(self, base, golden):
        path = f"configs/_base_/models/{base}.py"
        recorded = json.loads((golden / "K" / "segmentor_keys.json").read_text())
        entry = recorded["configs"][path]
        expected = sum((recorded["key_lists"][name] for name in entry["key_lists"]), [])
        with torch.device("meta"):
            network = build_segmentor(load_config(golden.parents[1] / path).model)
        assert keys_and_shapes(network) == expected
        assert sum(p.numel() for p in network.parameters()) == entry["num_params"]


class TestGeometry:
    @pytest.mark.parametrize(
        ("strides", "dilations", "sizes"),
        [
            ((1, 2, 2, 2), (1, 1, 1, 1), [(16, 24), (8, 12), (4, 6), (2, 3)]),
            ((1, 2, 2, 1), (1, 1, 1, 2), [(16, 24), (8, 12), (4, 6), (4, 6)]),
            ((1, 2, 1, 1), (1, 1, 2, 4), [(16, 24), (8, 12), (8, 12), (8, 12)]),
        ],
    )
    @pytest.mark.parametrize("kind", ["ResNet", "ResNetV1c", "ResNetV1d"])
    def test_strides_set_the_sizes_of_the_features(self, kind, strides, dilations, sizes):
        network = BACKBONES.build(
            {**TINY, "type": kind, "strides": strides, "dilations": dilations}
        )
        features = network.eval()(torch.rand(2, 3, 64, 96))
        assert [tuple(f.shape[2:]) for f in features] == sizes
        assert [f.shape[1] for f in features] == [8, 16, 32, 64]

    def test_odd_sizes_round_up_with_skipping_and_with_averaging_shortcuts(self):
        """45×77 → 23×39 (stem) → 12×20 (pooling) → 6×10 → 3×5 → 2×3."""
        for kind in ("ResNet", "ResNetV1d"):
            network = BACKBONES.build({**TINY, "type": kind}).eval()
            sizes = [tuple(f.shape[2:]) for f in network(torch.rand(1, 3, 45, 77))]
            assert sizes == [(12, 20), (6, 10), (3, 5), (2, 3)]

    def test_a_contracted_stage_begins_with_half_its_dilation(self):
        network = BACKBONES.build(TINY_50)
        assert dilations_of(network.layer2) == [1, 1, 1, 1]
        assert dilations_of(network.layer3) == [1, 2, 2, 2, 2, 2]
        assert dilations_of(network.layer4) == [2, 4, 4]
        plain = BACKBONES.build({**TINY_50, "contract_dilation": False})
        assert dilations_of(plain.layer3) == [2] * 6
        assert dilations_of(plain.layer4) == [4] * 3

    def test_a_multi_grid_replaces_the_dilations_of_the_last_stage_alone(self):
        network = BACKBONES.build({**TINY_50, "multi_grid": (1, 2, 5)})
        assert dilations_of(network.layer3) == [1, 2, 2, 2, 2, 2]
        assert dilations_of(network.layer4) == [1, 2, 5]

    def test_style_decides_which_convolution_of_a_bottleneck_has_the_stride(self):
        strides = {}
        for style in ("pytorch", "caffe"):
            block = BACKBONES.build({**TINY, "depth": 50, "style": style}).layer2[0]
            strides[style] = (block.conv1.stride[0], block.conv2.stride[0])
            assert block.downsample[0].stride == (2, 2)
        assert strides == {"pytorch": (1, 2), "caffe": (2, 1)}

    def test_only_the_asked_stages_are_returned_and_built(self):
        network = BACKBONES.build({**TINY, "out_indices": (0, 2)}).eval()
        features = network(torch.rand(1, 3, 32, 64))
        assert [f.shape[1] for f in features] == [8, 32]
        short = BACKBONES.build(
            {
                **TINY,
                "num_stages": 2,
                "strides": (1, 2),
                "dilations": (1, 1),
                "out_indices": (1,),
            }
        )
        assert not hasattr(short, "layer3")
        assert len(short(torch.rand(2, 3, 32, 64))) == 1

    @pytest.mark.parametrize(
        ("depth", "blocks"),
        [(18, "2222"), (34, "3463"), (50, "3463"), (101, [3, 4, 23, 3]), (152, [3, 8, 36, 3])],
    )
    def test_depth_sets_the_number_of_blocks(self, depth, blocks):
        with torch.device("meta"):
            network = BACKBONES.build({**TINY, "depth": depth})
        stages = [network.layer1, network.layer2, network.layer3, network.layer4]
        assert [len(stage) for stage in stages] == [int(n) for n in blocks]
        assert isinstance(network.layer1[0], BasicBlock if depth < 50 else Bottleneck)

    def test_norm_cfg_names_and_builds_every_norm(self):
        network = BACKBONES.build({**TINY, "norm_cfg": {"type": "GN", "num_groups": 4}})
        assert norms_of(network) == []
        keys = [key for key in network.state_dict() if key.startswith("layer2.0")]
        assert keys[1::3] == [f"layer2.0.{name}" for name in ("gn1.weight", "gn2.weight")] + [
            "layer2.0.downsample.1.weight"
        ]
        frozen = BACKBONES.build({**TINY, "norm_cfg": {"type": "BN", "requires_grad": False}})
        assert not any(p.requires_grad for norm in norms_of(frozen) for p in norm.parameters())


class TestBlocks:
    def test_a_bottleneck_equals_its_formula(self):
        block = filled(Bottleneck(Place(6, 4, stride=2, dilation=3), options())).eval()
        x = normal("x", 2, 6, 9, 11)
        y = F.conv2d(x, block.conv1.weight)
        y = F.relu(block.bn1(y))
        y = F.relu(block.bn2(F.conv2d(y, block.conv2.weight, stride=2, padding=3, dilation=3)))
        y = block.bn3(F.conv2d(y, block.conv3.weight))
        shortcut = block.downsample[1](F.conv2d(x[:, :, ::2, ::2], block.downsample[0].weight))
        torch.testing.assert_close(block(x), F.relu(y + shortcut), **EQUAL)

    def test_a_basic_block_has_dilation_and_stride_in_its_first_convolution_only(self):
        block = BasicBlock(Place(6, 6, stride=2, dilation=3), options())
        assert (block.conv1.stride, block.conv1.dilation) == ((2, 2), (3, 3))
        assert (block.conv2.stride, block.conv2.dilation) == ((1, 1), (1, 1))

    def test_an_averaging_shortcut_does_not_count_what_lies_outside(self):
        """A constant map stays constant, also at a border that the window crosses."""
        block = BasicBlock(Place(4, 4, stride=2), options(avg_down=True))
        pooled = block.downsample[0](torch.full((1, 4, 5, 7), 3.0))
        assert pooled.shape == (1, 4, 3, 4)
        assert (pooled == 3).all()

    @pytest.mark.parametrize(
        ("channels", "base_width", "width"),
        [(64, 4, 128), (64, 8, 256), (128, 8, 512), (24, 4, 32)],
    )
    def test_groups_set_the_width_of_a_bottleneck(self, channels, base_width, width):
        """32 groups of ⌊base_width · channels / 64⌋ channels."""
        block = Bottleneck(Place(16, channels), options(groups=32, width_ratio=base_width / 64))
        assert block.conv1.weight.shape[0] == width
        assert block.conv2.weight.shape == (width, width // 32, 3, 3)

    @pytest.mark.parametrize(("groups", "radix"), [(1, 2), (2, 3), (1, 1), (2, 1)])
    def test_split_attention_equals_a_slow_loop(self, groups, radix):
        """Group by group: weights over the splits from the mean over the map of their sum."""
        layer = filled(SplitAttention(6, 1, 2, options(groups=groups, radix=radix))).eval()
        x = normal("splits", 3, 6, 5, 4)
        maps = F.relu(layer.bn0(layer.conv(x)))  # channel s·6 + c: split s of channel c
        pooled = sum(maps[:, s * 6 : s * 6 + 6] for s in range(radix)).mean((2, 3), keepdim=True)
        score = layer.fc2(F.relu(layer.bn1(layer.fc1(pooled))))[:, :, 0, 0]
        expected = torch.zeros_like(x)
        per_group = 6 // groups
        for n in range(3):
            for c in range(6):
                group, inner = divmod(c, per_group)
                at = [group * radix * per_group + s * per_group + inner for s in range(radix)]
                weight = score[n, at].sigmoid() if radix == 1 else score[n, at].softmax(0)
                for s in range(radix):
                    expected[n, c] += weight[s] * maps[n, s * 6 + c]
        torch.testing.assert_close(layer(x), expected, **EQUAL)

    def test_the_hidden_layer_of_split_attention_is_never_narrower_than_32(self):
        widths = [
            SplitAttention(c, 1, 1, options(radix=3, reduction_factor=4)).fc1.weight.shape[0]
            for c in (6, 48)
        ]
        assert widths == [32, 36]

    def test_resnest_pools_for_a_stride_or_skips_by_option(self):
        """In its own layer, so that the convolution keeps stride 1."""
        cfg = {"type": "ResNeSt", "depth": 50, **NARROW}
        pooling = BACKBONES.build(cfg).layer2
        skipping = BACKBONES.build({**cfg, "avg_down_stride": False}).layer2
        assert pooling[0].pool.stride == 2
        assert pooling[0].conv2.conv.stride == (1, 1)
        assert pooling[1].pool is None
        assert skipping[0].pool is None
        assert skipping[0].conv2.conv.stride == (2, 2)
        x = torch.rand(2, 32, 10, 6)
        assert pooling.eval()(x).shape == skipping.eval()(x).shape == (2, 64, 5, 3)


def options(**values):
    return BlockOptions(norm_cfg={"type": "BN"}, **values)


class TestTraining:
    def test_gradient_reaches_every_parameter(self):
        for kind in ("ResNetV1c", "ResNeXt", "ResNeSt"):
            network = BACKBONES.build({"type": kind, "depth": 50, **NARROW, **DILATED}).train()
            sum(f.square().mean() for f in network(torch.rand(2, 3, 32, 48))).backward()
            assert [k for k, p in network.named_parameters() if p.grad is None] == [], kind

    def test_norm_eval_keeps_running_statistics_but_trains_the_weights_of_norms(self):
        network = init_module(BACKBONES.build({**TINY, "norm_eval": True})).train()
        before = {k: v.clone() for k, v in network.named_buffers()}
        features = network(torch.rand(2, 3, 32, 48))
        features[-1].mean().backward()
        assert network.training
        assert network.layer2.training
        assert not any(norm.training for norm in norms_of(network))
        assert all(torch.equal(before[k], v) for k, v in network.named_buffers())
        assert all(norm.weight.grad is not None for norm in norms_of(network))

    def test_without_norm_eval_running_statistics_move(self):
        network = init_module(BACKBONES.build(TINY)).train()
        before = network.bn1.running_mean.clone()
        network(torch.rand(2, 3, 32, 48))
        assert not torch.equal(before, network.bn1.running_mean)
        assert all(norm.num_batches_tracked == 1 for norm in norms_of(network))

    @pytest.mark.parametrize(
        ("kind", "frozen", "parts"),
        [
            ("ResNet", -1, ()),
            ("ResNet", 0, ("conv1", "bn1")),
            ("ResNetV1c", 0, ("stem",)),
            ("ResNetV1c", 2, ("stem", "layer1", "layer2")),
        ],
    )
    def test_frozen_stages_get_no_gradient_and_keep_their_statistics(self, kind, frozen, parts):
        network = init_module(BACKBONES.build({**TINY, "type": kind, "frozen_stages": frozen}))
        network.eval().train()
        before = {k: v.clone() for k, v in network.named_buffers()}
        sum(f.mean() for f in network(torch.rand(2, 3, 32, 48))).backward()
        for key, parameter in network.named_parameters():
            is_frozen = key.split(".")[0] in parts
            assert parameter.requires_grad is not is_frozen, key
            assert (parameter.grad is None) is is_frozen, key
        for key, value in network.named_buffers():
            assert torch.equal(before[key], value) is (key.split(".")[0] in parts), key

    @pytest.mark.parametrize(
        "cfg",
        [
            {**TINY, "frozen_stages": 1},
            {**TINY_50, "norm_eval": True},
            {"type": "ResNeSt", "depth": 50, **NARROW},
        ],
    )
    def test_checkpointing_changes_neither_gradients_nor_running_statistics(self, cfg):
        """Exactly: the second forward pass of a block must not count as another batch."""
        image, results = torch.rand(2, 3, 32, 48), []
        for with_cp in (False, True):
            network = init_module(BACKBONES.build({**cfg, "with_cp": with_cp})).train()
            sum(f.square().mean() for f in network(image)).backward()
            gradients = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
            results.append({**gradients, **dict(network.named_buffers())})
        plain, checkpointed = results
        assert plain.keys() == checkpointed.keys()
        assert all(torch.equal(plain[k], checkpointed[k]) for k in plain)

    def test_checkpointing_keeps_fewer_activations(self):
        kept = {}
        for with_cp in (False, True):
            network = BACKBONES.build({**TINY_50, "with_cp": with_cp}).train()
            parameters = {p.data_ptr() for p in network.parameters()}
            sizes = []

            def remember(tensor, sizes=sizes, parameters=parameters):
                if tensor.data_ptr() not in parameters:
                    sizes.append(tensor.numel())
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
                network(torch.rand(2, 3, 64, 64))
            kept[with_cp] = sum(sizes)
        assert kept[True] < kept[False] / 2

    def test_initial_weights_are_kaiming_normal_and_blocks_start_as_identities(self):
        network = BACKBONES.build({**TINY_50, "base_channels": 16})
        network.init_weights()
        weight = network.layer4[1].conv3.weight  # 1×1 from 128 to 512 channels: fan out 512
        spread = weight.std().item()  # to 7 standard errors
        assert spread == pytest.approx((2 / 512) ** 0.5, rel=0.02)
        block = network.layer3[2]
        assert (block.bn3.weight == 0).all()
        assert (block.bn2.weight == 1).all()
        x = torch.randn(2, 256, 5, 4).relu()
        assert torch.equal(block(x), x)
        other = BACKBONES.build({**TINY, "zero_init_residual": False})
        other.init_weights()
        assert (other.layer1[0].bn2.weight == 1).all()


class TestPretrainedFile:
    @pytest.fixture
    def source(self):
        return init_module(BACKBONES.build(TINY))

    def load(self, path, **changes):
        network = BACKBONES.build({**TINY, "pretrained": str(path), **changes})
        network.init_weights()
        return network

    def test_of_torchvision_loads_without_its_classifier(self, source, tmp_path):
        """Old files are not zip archives and do not count batches."""
        state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
        classifier = {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}
        torch.save(
            {**state, **classifier}, tmp_path / "r.pth", _use_new_zipfile_serialization=False
        )
        loaded = self.load(tmp_path / "r.pth").state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())

    def test_loads_into_fewer_stages(self, source, tmp_path):
        torch.save({"state_dict": source.state_dict()}, tmp_path / "r.pth")
        fewer = {
            "num_stages": 3,
            "strides": (1, 2, 2),
            "dilations": (1, 1, 1),
            "out_indices": (2,),
        }
        loaded = self.load(tmp_path / "r.pth", **fewer).state_dict()
        assert torch.equal(loaded["layer3.1.conv2.weight"], source.layer3[1].conv2.weight)

    def test_of_another_stem_or_depth_is_an_error_that_names_the_keys(self, source, tmp_path):
        torch.save(source.state_dict(), tmp_path / "r18.pth")
        with pytest.raises(ConfigError, match=r"r18.pth.*missing keys stem.0.weight.*conv1.weight"):
            self.load(tmp_path / "r18.pth", type="ResNetV1c")
        with pytest.raises(ConfigError, match=r"missing keys layer1.2.conv1.weight"):
            self.load(tmp_path / "r18.pth", depth=34)

    def test_that_is_missing_says_where_to_get_it(self):
        with pytest.raises(FileNotFoundError, match=r"pretrained/no.pth.*ImageNet.*torchvision"):
            self.load("pretrained/no.pth")

    @pytest.mark.parametrize("name", ["mmcls://resnet50_v1c", "https://host/a/r.pth"])
    def test_that_would_have_to_be_fetched_says_how_to_give_a_path(self, name):
        file = name.split("/")[-1].removesuffix(".pth")
        with pytest.raises(ConfigError) as error:
            self.load(name)
        message = str(error.value)
        assert f"got '{name}'" in message
        assert "nothing is downloaded" in message
        assert f"model.pretrained='pretrained/{file}.pth'" in message


class TestErrors:
    @pytest.mark.parametrize("kind", ["ResNet", "ResNetV1c", "ResNetV1d"])
    def test_an_unknown_depth_names_the_known_ones(self, kind):
        with pytest.raises(ConfigError, match=f"depth of {kind} among 18, 34, 50, 101, 152, got 7"):
            BACKBONES.build({"type": kind, "depth": 7})

    @pytest.mark.parametrize("kind", ["ResNeXt", "ResNeSt"])
    def test_networks_of_bottlenecks_have_no_shallow_depth(self, kind):
        with pytest.raises(ConfigError, match=f"depth of {kind} among 50, .*, got 18"):
            BACKBONES.build({"type": kind, "depth": 18})

    def test_a_missing_depth_and_an_unknown_key_are_named(self):
        with pytest.raises(ConfigError, match="needs the key 'depth'"):
            BACKBONES.build({"type": "ResNetV1c"})
        with pytest.raises(ConfigError, match="'contract_dilatio'.*mean 'contract_dilation'"):
            BACKBONES.build({**TINY, "contract_dilatio": True})
        with pytest.raises(ConfigError, match="unknown key 'groups' in backbone 'ResNet'"):
            BACKBONES.build({**TINY, "groups": 2})
        with pytest.raises(ConfigError, match="did you mean 'ResNetV1c'"):
            BACKBONES.build({"type": "ResnetV1c", "depth": 50})

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_stages": 5}, "num_stages.*at most 4, got 5"),
            ({"strides": (1, 2)}, r"strides.*one number for each of 4 stages, got \(1, 2\)"),
            ({"dilations": (1,)}, "dilations.*each of 4 stages"),
            ({"out_indices": (0, 4)}, r"out_indices.*between 0 and 3, got \(0, 4\)"),
            ({"out_indices": ()}, "out_indices"),
            ({"style": "torch"}, "style.*'pytorch' or 'caffe', got 'torch'"),
            ({"frozen_stages": 5}, "frozen_stages.*at most 4, got 5"),
            ({"multi_grid": (1, 2, 4)}, r"multi_grid.*2 numbers, one per block, got \[1, 2, 4\]"),
        ],
    )
    def test_values_that_do_not_fit_are_named(self, changes, message):
        with pytest.raises(ConfigError, match=message):
            BACKBONES.build({**TINY, **changes})
