"""timm's networks as backbones: recorded ViTs (golden V), timm's own features, errors."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from golden_init import arr, values
from network_records import EQUAL, filled, keys_and_shapes, normal
from timm_builds import FAMILIES, PLAIN, REGISTERS, TINY, build, tiny

from mmseg.models.backbones.vit_positions import resize_positions
from mmseg.models.layers import norm, synchronize_batch_norm
from mmseg.models.uda.teacher import Teacher
from mmseg.system.errors import ConfigError

RECORDS = Path(__file__).parents[1] / "golden" / "V"
CASES = json.loads((RECORDS / "vit.json").read_text())["cases"]
ARRAYS = dict(np.load(RECORDS / "vit.npz"))
FLOAT64 = {"rtol": 1e-9, "atol": 1e-9}
FLOAT32 = {"rtol": 1e-4, "atol": 1e-4}


class TestRecords:
    @pytest.mark.parametrize("case", [name for name in CASES if name.startswith("pos_")])
    def test_resized_positions_equal_the_recorded_ones(self, case):
        record = CASES[case]
        side, (*_, channels) = record["table_grid"], record["out"]["pos"]["shape"]
        table = values(f"V:{case}:pos_embed", (1, side**2 + 1, channels))
        rule = "offset" if record["kind"] == "plain" else "antialias"
        found = resize_positions(torch.from_numpy(table), tuple(record["grid_hw"]), rule)
        assert list(found.shape) == record["out"]["pos"]["shape"]
        expected = ARRAYS[f"{case}/pos/f32"]
        np.testing.assert_allclose(
            found.flatten()[:: record["out"]["pos"]["step"]], expected, 0, 5e-6
        )

    @pytest.mark.parametrize("final_norm", [False, True])
    @pytest.mark.parametrize("case", [name for name in CASES if name.startswith("vit_")])
    def test_features_of_metas_weights_equal_the_recorded_ones(self, case, final_norm, tmp_path):
        record = CASES[case]
        suffix = "_norm" if final_norm else ""
        blocks = {f"block{i}{suffix}": i for i in range(record["vit"]["depth"])}
        blocks = {name: i for name, i in blocks.items() if name in record["out"]}
        torch.save(metas_file(record), tmp_path / "meta.pth")
        network = build(
            PLAIN if record["vit"].get("num_register_tokens") is None else REGISTERS,
            model_kwargs={k: record["vit"][k] for k in (*TINY, "init_values")},
            pretrained=str(tmp_path / "meta.pth"),
            out_indices=list(blocks.values()),
            final_norm=final_norm,
        )
        network.init_weights()
        shape = eval(record["input"].partition(",")[2].rstrip(")") + ")")
        image = torch.from_numpy(arr(f"V:{case}:img", shape))
        for kind, noise in ((torch.float32, FLOAT32), (torch.float64, FLOAT64)):
            with torch.no_grad():
                features = network.eval().to(kind)(image.to(kind))
            for name, feature in zip(blocks, features, strict=True):
                assert list(feature.shape) == record["out"][name]["shape"]
                expected = ARRAYS[f"{case}/{name}/f{feature.element_size() * 8}"]
                found = feature.flatten()[:: record["out"][name]["step"]]
                np.testing.assert_allclose(found, expected, **noise)


def metas_file(record):
    """Weights in Meta's layout: with a mask token, and with registers other names and places."""
    vit, prefix = record["vit"], record["weights_prefix"]
    network = build(model_kwargs={k: vit[k] for k in (*TINY, "init_values")}, mask_token=True)
    shapes = dict(keys_and_shapes(network))
    if "num_register_tokens" in vit:
        shapes["register_tokens"] = [1, vit["num_register_tokens"], vit["embed_dim"]]
    return {key: torch.from_numpy(values(prefix + key, shape)) for key, shape in shapes.items()}


class TestTimmsOwn:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_keys_and_features_equal_timms_own(self, family):
        name, options = FAMILIES[family]
        side = 14 if name == REGISTERS else 16
        image = normal("image", 2, 3, 4 * side, 6 * side)
        sizes = {"strict_img_size": False} if family == "hierarchical" else {}
        is_vit = family in ("plain", "registers", "rotary")
        sizes = {"dynamic_img_size": True} if is_vit else sizes
        other = filled(timm.create_model(name, num_classes=0, **options, **sizes)).eval()
        network = filled(build(name, model_kwargs=options)).eval()
        assert keys_and_shapes(network) == keys_and_shapes(other)
        kept = 1 if is_vit else None
        expected = other.forward_intermediates(image, indices=kept, intermediates_only=True)
        found = network(image)
        assert [f.shape[1] for f in found] == network.feature_channels
        assert all(a.shape[3] * 2 == a.shape[2] * 3 for a in found), "not NCHW"
        assert sorted((f.shape[2] for f in found), reverse=True) == [f.shape[2] for f in found]
        torch.testing.assert_close(found, expected, **EQUAL)

    def test_out_indices_are_timms_and_may_count_from_the_end(self):
        name, options = FAMILIES["residual"]
        image, every = normal("image", 2, 3, 64, 96), build(name, model_kwargs=options).double()
        some = build(name, model_kwargs=options, out_indices=(-1, 2)).double()
        some.load_state_dict(every.state_dict())
        features = every.eval()(image)
        assert [list(f.shape[2:]) for f in features] == [[32 >> i, 48 >> i] for i in range(5)]
        torch.testing.assert_close(some.eval()(image), [features[2], features[4]], **EQUAL)

    def test_dinov2_without_registers_has_its_own_rule_for_positions(self):
        rules = {name: tiny(name).pos_rule for name in (PLAIN, f"{PLAIN}.lvd142m", REGISTERS)}
        assert list(rules.values()) == ["offset", "offset", "antialias"]
        image = normal("image", 1, 3, 70, 56)
        ours, timms = (filled(tiny(pos_interpolation=r)).eval() for r in ("offset", "antialias"))
        assert not torch.allclose(ours(image)[0], timms(image)[0], atol=1e-4)

    def test_images_are_resized_to_the_inner_size(self):
        image = normal("image", 2, 3, 50, 75)
        network = filled(tiny(inner_size=(56, 70))).eval()
        inner = torch.nn.functional.interpolate(image, (56, 70), mode="bilinear")
        assert network(image)[0].shape == (2, 8, 4, 5)
        torch.testing.assert_close(network(image), filled(tiny()).eval()(inner), **EQUAL)
        assert tiny(inner_size=28)(torch.rand(1, 3, 5, 9))[0].shape == (1, 8, 2, 2)

    def test_a_copy_shares_nothing_and_the_mode_reaches_timms_network(self):
        network = filled(tiny(mask_token=True))
        twin, image = copy.deepcopy(network).eval(), normal("image", 1, 3, 28, 42)
        before = network.eval()(image)[0]
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(1.5)
        assert torch.equal(network(image)[0], before)
        assert not torch.allclose(twin(image)[0], before)
        assert twin.train().network.training and not network.network.training
        assert twin.network.blocks is twin.blocks

    def test_gradient_reaches_every_parameter_of_a_vit_but_the_mask_token(self):
        network = tiny(mask_token=True, final_norm=True).train()
        network(torch.rand(2, 3, 28, 42))[0].square().mean().backward()
        assert [k for k, p in network.named_parameters() if p.grad is None] == ["mask_token"]

    def test_a_teacher_labels_without_timms_random_layers(self):
        name, options = FAMILIES["hierarchical"]
        rates = {"drop_path_rate": 0.5, "proj_drop_rate": 0.5}
        network = filled(build(name, model_kwargs={**options, **rates}))
        image = normal("image", 2, 3, 64, 96)
        assert not torch.equal(network.train()(image)[-1], network(image)[-1])
        Teacher(network, alpha=0.9, threshold=None)
        assert network.training
        assert torch.equal(network(image)[-1], network(image)[-1])

    def test_synchronized_batch_norms_keep_timms_activations(self, monkeypatch):
        monkeypatch.setattr(norm, "world_size", lambda: 2)
        network = filled(build("efficientnet_lite0", out_indices=(0, 1))).eval()
        image = normal("image", 1, 3, 64, 96)
        before = network(image)
        synchronize_batch_norm(network, is_wanted=True, device=torch.device("cuda"))
        assert isinstance(network.network.bn1, torch.nn.SyncBatchNorm)
        torch.testing.assert_close(network(image), before, **EQUAL)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"model_name": "vit_smal_patch14_dinov2"}, "did you mean 'vit_small_patch14_dinov2'"),
            ({"model_name": "hf-hub:timm/resnet18"}, "expected the name of a network of timm"),
            ({"pretrained": True}, "path of a file.*got True, and nothing is downloaded"),
            ({"checkpoint_path": "a.pth"}, "expected pretrained='a.pth' .* Rename the key"),
            ({"model_kwargs": {"embed_dims": 8}}, "arguments of timm's .*embed_dims"),
            ({"model_kwargs": {"pretrained": True}}, "model_kwargs, got pretrained"),
            ({"out_indices": (0, 12)}, r"out_indices of .* between -12 and 11, got \(0, 12\)"),
            ({"out_indices": ()}, "out_indices"),
            ({"pos_interpolation": "bicubic"}, "pos_interpolation.*'offset' or 'antialias'"),
            ({"model_name": "resnet18", "pos_interpolation": "offset"}, "expected a plain ViT"),
            ({"model_name": "resnet18", "final_norm": True}, "expected a ViT for final_norm=True"),
            ({"model_name": "resnet18", "mask_token": True}, "expected a ViT for mask_token=True"),
            ({"inner_size": 0}, "inner_size"),
            ({"frozen": True}, "unknown key 'frozen' in backbone 'TIMMBackbone'"),
        ],
    )
    def test_values_that_do_not_fit_are_named(self, options, message):
        with pytest.raises(ConfigError, match=message):
            build(**{"model_name": PLAIN, **options})

    def test_an_image_without_whole_patches_is_an_error(self):
        with pytest.raises(ConfigError, match="multiples of 14.* got 28x50. Set inner_size"):
            tiny()(torch.rand(1, 3, 28, 50))
        fixed = build("cait_xxs24_224", model_kwargs={"depth": 1, "embed_dim": 8, "num_heads": 2})
        with pytest.raises(ConfigError, match="a size that cait_xxs24_224 takes, got 32x48"):
            fixed(torch.rand(1, 3, 32, 48))

    def test_mmsegmentations_other_keys_are_accepted(self):
        network = tiny(features_only=True, checkpoint_path="", in_channels=4, pretrained=False)
        assert network(torch.rand(2, 4, 28, 42))[0].shape == (2, 8, 2, 3)


def in_a_process_without(*modules: str, code: str) -> str:
    start = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", start + code], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_timm_is_imported_only_to_build_and_its_lack_names_the_extra():
    code = """
import mmseg.models
assert not {"timm", "torchvision"} & {name for name, module in sys.modules.items() if module}
from mmseg.models import BACKBONES
section = {"type": "TIMMBackbone", "model_name": "resnet18"}
BACKBONES.check(section)
try:
    BACKBONES.build(section)
except ImportError as error:
    print(error)
"""
    assert 'pip install "cdda-seg[vfm]"' in in_a_process_without("timm", code=code)
    code = code.partition("from mmseg")[0]
    assert in_a_process_without(code=code) == ""
