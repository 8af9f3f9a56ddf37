"""ViT-Adapter: recorded parts and features (golden V), start values, other ViTs, its files."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_init import arr
from network_records import EQUAL, keys_and_shapes, normal
from timm_builds import PLAIN
from torch import nn
from vfm_records import (
    ARRAYS,
    CASES,
    KINDS,
    TINY,
    adapter,
    assert_gradients,
    assert_recorded,
    fill,
    picture,
)

from mmseg.engine.provenance import pretrained_files
from mmseg.models.backbones.adapter_layers import Cells, ConvFFN, SpatialPrior
from mmseg.models.backbones.ms_deform_attn import DeformableAttention, cell_centers, sample_and_sum
from mmseg.models.backbones.pretrained import weight_notes
from mmseg.models.layers import SLOW_SYNC_BN, hide_pixels
from mmseg.system.errors import ConfigError
from mmseg.system.weight_table import TABLE

SMALL = {"embed_dim": 16, "depth": 4, "num_heads": 2, "img_size": 42}
MINI = {**TINY, "model_kwargs": SMALL}


def mini(**options):
    """Return an adapter of 16 channels whose injectors have an effect."""
    network = fill(adapter(**{"vit": MINI, "conv_inplane": 4, **options}), "mini:")
    return network.double()


class TestRecords:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("case", ["msda_injector", "msda_extractor"])
    def test_attention_and_its_gradients_equal_the_recorded_ones(self, case, kind):
        record = CASES[case]
        sizes = (record["d_model"], len(record["value_grids"]), record["n_points"])
        layer = DeformableAttention(*sizes, record["ratio"], record["n_heads"])
        layer = fill(layer, record["weights_prefix"]).to(kind)
        centers = cell_centers(record["query_grids"])
        places = ARRAYS[f"{case}/reference_points/f32"]
        step = record["out"]["reference_points"]["step"]
        np.testing.assert_allclose(centers.flatten()[::step], places, 1e-6)
        counts = [sum(h * w for h, w in record[f"{x}_grids"]) for x in ("query", "value")]
        query, value = (
            picture(f"V:{case}:{x}", [2, count, sizes[0]], kind).requires_grad_()
            for x, count in zip("qv", counts, strict=True)
        )
        found = layer(query, centers, value, record["value_grids"])
        assert_recorded(case, "out", found)
        (found * picture(f"V:{case}:g", list(found.shape), kind)).sum().backward()
        assert_recorded(case, "grad_query", query.grad)
        assert_recorded(case, "grad_value", value.grad)
        name = "f64" if kind == torch.float64 else "f32"
        recorded = {k: v[name] for k, v in record["out"].items() if k.startswith("gradnorm:")}
        assert_gradients(layer, recorded, "gradnorm:{}".format, kind)

    @pytest.mark.parametrize("kind", KINDS)
    def test_sampling_equals_the_recorded_one_and_that_of_grid_sample(self, kind):
        value, places, weights = (
            torch.from_numpy(arr(f"V:msda_core:{name}", shape, *how)).to(kind)
            for name, shape, how in (
                ("v", (2, 47, 2, 8), ()),
                ("loc", (2, 6, 2, 2, 3, 2), ("uniform", -0.2, 1.2)),
                ("w", (2, 6, 2, 2, 3), ()),
            )
        )
        weights, grids = weights.flatten(3).softmax(3).view_as(weights), [(5, 7), (3, 4)]
        found = sample_and_sum(value, grids, places, weights)
        assert_recorded("msda_core", "out", found)
        expected = torch.zeros(2, 6, 2, 8, dtype=kind)
        for level, part in enumerate(value.split([35, 12], dim=1)):
            for head in range(2):
                cells = part[:, :, head].transpose(1, 2).unflatten(2, grids[level])
                grid = 2 * places[:, :, head, level] - 1
                read = F.grid_sample(cells, grid, padding_mode="zeros", align_corners=False)
                expected[:, :, head] += torch.einsum(
                    "bkqp,bqp->bqk", read, weights[:, :, head, level]
                )
        torch.testing.assert_close(found, expected.flatten(2), rtol=1e-4, atol=1e-5)

    def test_heads_look_at_first_where_recorded(self):
        for name, heads, levels in (("bias", 2, 3), ("bias_6heads_1level", 6, 1)):
            layer = DeformableAttention(64 * heads, levels)
            expected = ARRAYS[f"msda_init/{name}/f32"]
            np.testing.assert_allclose(layer.sampling_offsets.bias.detach(), expected, atol=1e-6)
            assert not layer.sampling_offsets.weight.any()

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_prior_equals_the_recorded_one(self, kind):
        network = fill(SpatialPrior(128, 64, SLOW_SYNC_BN), "V:spm:").to(kind)
        image = picture("V:spm:img", [2, 3, 64, 96], kind)
        for mode in ("eval", "train"):
            finest, *others = network.train(mode == "train")(image)
            sequences = [finest, *(x.flatten(2).transpose(1, 2) for x in others)]
            for level, found in enumerate(sequences, start=1):
                assert_recorded("spm", f"{mode}_c{level}", found)
        state = network.state_dict()
        for name in (n for n in CASES["spm"]["out"] if n.startswith("after_train:")):
            assert_recorded("spm", name, state[name.partition(":")[2]])

    @pytest.mark.parametrize("kind", KINDS)
    def test_features_and_gradients_equal_the_recorded_ones(self, kind):
        def theirs(key):
            return key.removeprefix("vit.")

        record = CASES["adapter"]
        network = fill(adapter(), "V:adapter:", theirs).to(kind)
        image = picture("V:adapter:img", [2, 3, 224, 224], kind)
        seen = {}
        for i, interaction in enumerate(network.interactions):
            last = [interaction.extractor, *interaction.extra_extractors][-1]
            last.register_forward_hook(
                lambda _, given, made, i=i: seen.update({i: (given[1], made)})
            )
        for mode in ("eval", "train"):
            features = network.train(mode == "train")(image)
            for level, feature in enumerate(features, start=1):
                assert_recorded("adapter", f"{mode}_f{level}", feature)
            for i, (patches, sequence) in seen.items() if mode == "eval" else ():
                assert_recorded("adapter", f"x{i}", patches)
                assert_recorded("adapter", f"c{i}", sequence)
        weights = [
            picture(f"V:adapter:g{i}", list(f.shape), kind) for i, f in enumerate(features, 1)
        ]
        sum((f * w).mean() for f, w in zip(features, weights, strict=True)).backward()
        name = "f64" if kind == torch.float64 else "f32"
        assert_gradients(network, record["out"]["gradnorm"][name], theirs, kind)
        after = "after_train:norm4.running_mean"
        assert_recorded("adapter", after, network.norm4.running_mean)


class TestStart:
    def test_layers_start_as_published(self):
        """A start value is told by its spread: 5 % off at most, of 2,000 numbers or more."""
        torch.manual_seed(0)
        network = adapter()
        parts = dict(network.named_modules())

        def spread(name):
            return float(parts[name].weight.detach().std())

        expected = {
            "spm.stem.3": math.sqrt(2 / (9 * 64)),
            "spm.fc1": math.sqrt(2 / 128),
            "up": math.sqrt(2 / (4 * 128)),
            "interactions.1.extractor.ffn.fc1": 0.02,
            "interactions.0.injector.attn.value_proj": math.sqrt(2 / (128 + 64)),
        }
        assert {k: spread(k) for k in expected} == pytest.approx(expected, rel=0.05)
        depthwise = parts["interactions.3.extractor.ffn.dwconv.dwconv"].weight
        assert float(depthwise.detach().std()) == pytest.approx(math.sqrt(2 / 9), rel=0.2)
        assert float(network.level_embed.detach().std()) == pytest.approx(1, rel=0.2)
        assert not any(i.injector.gamma.any() for i in network.interactions)
        layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        own = [m for m in layers if m not in set(network.vit.modules()) and m.bias is not None]
        assert len(own) > 40
        offsets = {
            i.attn.sampling_offsets
            for i in network.modules()
            if hasattr(i, "attn") and isinstance(i.attn, DeformableAttention)
        }
        assert not any(m.bias.any() for m in own if m not in offsets)
        norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert {(m.momentum, m.eps) for m in norms} == {(0.01, 1e-5)}
        inner = {m.eps for m in network.interactions.modules() if isinstance(m, nn.LayerNorm)}
        assert inner == {1e-5}

    def test_the_adapter_leaves_the_vit_as_it_is_at_first(self):
        network, image = adapter(MINI, conv_inplane=4).eval(), torch.rand(1, 3, 224, 448)
        seen = []
        network.interactions[3].extra_extractors[1].register_forward_hook(
            lambda _, given, made: seen.append(given[1])
        )
        network(image)
        vit = network.vit
        tokens = vit.run_blocks(vit.embed(image), 0, 4)
        torch.testing.assert_close(seen[0], tokens.patches)


class TestVariants:
    @pytest.mark.parametrize(
        ("name", "options", "size"),
        [
            (PLAIN, {}, (224, 448)),
            ("vit_small_patch14_reg4_dinov2", {}, (448, 224)),
            ("vit_tiny_patch16_224", {"img_size": 64}, (96, 64)),
            ("vit_small_patch16_dinov3", {"img_size": 64}, (64, 96)),
        ],
    )
    def test_every_kind_of_vit_gives_four_levels_and_all_parts_learn(self, name, options, size):
        vit = {**MINI, "model_name": name, "model_kwargs": {**SMALL, **options}}
        network = mini(vit=vit).train()
        features = network(normal("image", 2, 3, *size))
        assert [f.shape for f in features] == [
            (2, 16, size[0] // s, size[1] // s) for s in (4, 8, 16, 32)
        ]
        sum(f.square().mean() for f in features).backward()
        assert [k for k, p in network.named_parameters() if p.grad is None] == []

    def test_images_are_resized_then_masked(self):
        image, keep = normal("image", 2, 3, 50, 70), torch.ones(2, 1, 3, 5)
        keep[0, 0, 1:, 2] = keep[1, 0, 0] = 0
        resized = F.interpolate(image, (224, 448), mode="bilinear")
        hidden = hide_pixels(resized, keep)
        assert torch.equal(hidden[0, :, 80:, 185:260], torch.zeros(3, 144, 75).double())
        found = mini(inner_size=(224, 448)).eval()(image, keep_mask=keep)
        torch.testing.assert_close(found, mini().eval()(hidden), **EQUAL)

    def test_recomputing_and_freezing_change_no_number(self):
        image, found = normal("image", 2, 3, 224, 224), []
        variants = ({}, {"with_cp": True, "vit": {**MINI, "with_cp": True}}, {"freeze_vit": True})
        for options in variants:
            network = mini(**options).train()
            features = network(image)
            sum(f.square().mean() for f in features).backward()
            gradients = {k: p.grad for k, p in network.named_parameters()}
            found.append((features, gradients))
        (plain, gradients), (recomputed, same), (frozen, some) = found
        torch.testing.assert_close(plain, recomputed, **EQUAL)
        torch.testing.assert_close(gradients, same, **EQUAL)
        torch.testing.assert_close(plain, frozen, **EQUAL)
        assert {k for k, g in some.items() if g is None} == {
            k for k in some if k.startswith("vit.")
        }
        kept = {k: gradients[k] for k, g in some.items() if g is not None}
        torch.testing.assert_close({k: some[k] for k in kept}, kept, **EQUAL)
        assert not network.vit.training and network.spm.training

    def test_attention_stays_in_single_precision_under_autocast(self):
        layer = DeformableAttention(16, 1).float()
        nn.init.normal_(layer.sampling_offsets.weight)
        query, values = (normal(n, 2, c, 16).float() for n, c in (("q", 6), ("v", 35)))
        arguments = (query, cell_centers([(2, 3)]), values, [(5, 7)])
        seen = []
        layer.output_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(*arguments).dtype == torch.bfloat16
        assert seen == [torch.float32]

    def test_places_that_are_no_numbers_do_not_end_the_program(self):
        value = torch.ones(1, 6, 1, 2)
        places = torch.tensor([math.nan, math.inf, -math.inf, 1e30, 0.5, 0.5]).view(
            1, 3, 1, 1, 1, 2
        )
        found = sample_and_sum(value, [(2, 3)], places, torch.ones(1, 3, 1, 1, 1))
        assert found[0, :2].isfinite().all() and torch.equal(found[0, 2], torch.ones(2))

    def test_the_ffn_filters_each_map_alone(self):
        layer, cells = (
            ConvFFN(4, 3),
            Cells.of((1, 1), [(2, 3), (1, 2), (1, 1)], torch.device("cpu")),
        )
        sequence = torch.zeros(1, 9, 4)
        changed = sequence.clone()
        changed[:, 6:8] = 5
        is_same = (layer(sequence, cells) == layer(changed, cells)).all(2)[0]
        assert is_same.tolist() == [True] * 6 + [False] * 2 + [True]

    def test_a_copy_of_an_adapter_shares_nothing(self):
        network, image = mini().eval(), normal("image", 1, 3, 224, 224)
        twin, before = copy.deepcopy(network), network(image)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(1.5)
        torch.testing.assert_close(network(image), before, rtol=0, atol=0)


class TestFiles:
    def test_a_file_of_the_adapter_loads_and_its_classifier_is_dropped(self, tmp_path):
        network = mini()
        state = {
            f"network.encoder.{k.removeprefix('vit.')}": v for k, v in network.state_dict().items()
        }
        extra = {
            "network.head.fc.weight": torch.ones(3),
            "network.upscale.head_norm": torch.ones(2),
        }
        torch.save({"state_dict": {**state, **extra}}, tmp_path / "a.ckpt")
        found = adapter(MINI, conv_inplane=4, pretrained_adapter=str(tmp_path / "a.ckpt"))
        assert "without pretrained_adapter" not in weight_notes(found)[0]
        assert "License of the weights of VFM-UDA and VFM-UDA++: unknown" in weight_notes(found)[0]
        found.init_weights()
        expected = {k: v.to(found.state_dict()[k].dtype) for k, v in network.state_dict().items()}
        torch.testing.assert_close(dict(found.state_dict()), expected, rtol=0, atol=0)
        del state["network.encoder.up.bias"]
        torch.save({"state_dict": state}, tmp_path / "a.ckpt")
        with pytest.raises(ConfigError, match=r"missing keys up\.bias"):
            found.init_weights()

    def test_the_vit_loads_metas_file_and_the_log_says_what_is_random(self, tmp_path):
        whole = adapter({**MINI, "pretrained": None}, conv_inplane=4)
        state = {k.removeprefix("vit."): v for k, v in whole.state_dict().items() if "vit." in k}
        other = {"norm.weight": torch.ones(16), "norm.bias": torch.ones(16)}
        torch.save({**state, **other, "mask_token": torch.ones(1, 16)}, tmp_path / "meta.pth")
        found = adapter(MINI, conv_inplane=4, pretrained=str(tmp_path / "meta.pth"))
        found.init_weights()
        assert [k for k in dict(keys_and_shapes(found)) if k.startswith("vit.norm")] == []
        for key, value in state.items():
            assert torch.equal(found.state_dict()[f"vit.{key}"], value)
        assert "another experiment" in weight_notes(found)[0]

    def test_the_file_of_the_adapter_is_one_that_a_run_needs(self):
        section = {"backbone": {"pretrained_adapter": "a.ckpt", "vit": {"pretrained": "v.pth"}}}
        assert [path for _, path in pretrained_files(section, "model")] == ["a.ckpt", "v.pth"]
        assert TABLE["vit_adapter_dinov2_base"].path.suffix == ".ckpt"

    def test_dinov3s_license_is_said(self):
        vit = {**MINI, "model_name": "vit_small_patch16_dinov3", "pretrained": "a.pth"}
        assert "License of a.pth: DINOv3" in weight_notes(adapter(vit))[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vit": {**MINI, "inner_size": 28}}, "inner_size of a ViTAdapter beside its vit"),
        ({"vit": {**MINI, "out_indices": [1]}}, "out_indices .* Drop it"),
        ({"vit": {**MINI, "mask_token": True}}, "without mask_token and final_norm"),
        (
            {"vit": {**MINI, "model_kwargs": {**SMALL, "depth": 6}}},
            "a multiple of 4 blocks.* got 6",
        ),
        ({"vit": {"type": "TIMMBackbone", "model_name": "resnet18"}}, "plain ViT.* got resnet18"),
        ({"vit": {"type": "ResNet", "depth": 18}}, "expected a TIMMBackbone .* got ResNet"),
        ({"deform_ratio": 0.01}, "expected a deform_ratio"),
        ({"n_points": 0}, "n_points"),
        ({"inner_sizes": 224}, "unknown key 'inner_sizes'"),
    ],
)
def test_values_that_do_not_fit_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        adapter(**{"vit": MINI, **options})


def test_an_image_that_does_not_fit_is_an_error():
    with pytest.raises(ConfigError, match="multiples of 224 .* got 224x196. Set inner_size"):
        mini()(torch.rand(1, 3, 224, 196))
