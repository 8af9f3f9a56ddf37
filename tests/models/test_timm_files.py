"""Files of weights for timm's networks: the layouts that load, and what is refused."""

import re

import pytest
import torch
from safetensors.torch import save_file
from timm_builds import FAMILIES, PLAIN, REGISTERS, TINY, build, loaded, tiny, weights

from mmseg.system.errors import ConfigError


@pytest.mark.parametrize("mask_token", [False, True])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_both_layouts_of_a_plain_vit_load(kind, mask_token, tmp_path):
    state = weights(tiny())
    token = {"mask_token": torch.full((1, 8), 0.5)}
    classifier = {"head.weight": torch.zeros(5, 8), "head.bias": torch.zeros(5)}
    for name, file in (("timm", {**state, **classifier}), ("meta", {**state, **token})):
        path = tmp_path / f"{name}.{'pth' if kind == 'torch' else 'safetensors'}"
        torch.save(file, path) if kind == "torch" else save_file(file, path)
        found = loaded(path, mask_token=mask_token).state_dict()
        start = token if name == "meta" else {"mask_token": torch.zeros(1, 8)}
        expected = {**state, **start} if mask_token else state
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_both_layouts_with_registers_load(tmp_path):
    state = weights(tiny(REGISTERS))
    torch.save(state, tmp_path / "timm.pth")
    meta = {k: v for k, v in state.items() if k not in ("reg_token", "pos_embed")}
    place = torch.full((1, 1, 8), 0.25)
    meta["register_tokens"], meta["mask_token"] = state["reg_token"], torch.zeros(1, 8)
    meta["pos_embed"] = torch.cat([place, state["pos_embed"]], dim=1)
    torch.save(meta, tmp_path / "meta.pth")
    timms, metas = (loaded(tmp_path / f"{n}.pth", REGISTERS).state_dict() for n in ("timm", "meta"))
    assert torch.equal(metas.pop("cls_token"), timms.pop("cls_token") + place)
    assert all(torch.equal(metas[key], value) for key, value in timms.items())


def test_metas_dinov3_layout_loads_and_biases_that_timm_would_drop_are_an_error(tmp_path):
    name, options = FAMILIES["rotary"]
    network = build(name, model_kwargs=options, pretrained=str(tmp_path / "v3.pth"))
    state, theirs = weights(network), {"reg_token": "storage_tokens"}
    meta = {theirs.get(k, re.sub(r"gamma_(\d)", r"ls\1.gamma", k)): v for k, v in state.items()}
    meta |= {"mask_token": torch.ones(1, 16), "rope_embed.periods": torch.ones(3)}
    meta |= {f"blocks.{i}.attn.qkv.bias": torch.zeros(48) for i in range(2)}
    meta |= {f"blocks.{i}.attn.qkv.bias_mask": torch.ones(48) for i in range(2)}
    torch.save(meta, tmp_path / "v3.pth")
    network.init_weights()
    found = network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    meta["blocks.1.attn.qkv.bias"][5] = 0.5
    torch.save(meta, tmp_path / "v3.pth")
    with pytest.raises(ConfigError, match=r"unexpected keys blocks\.1\.attn\.qkv\.bias"):
        network.init_weights()


def test_a_classifier_is_ignored_but_not_the_norm_beside_it(tmp_path):
    name, options = FAMILIES["convolutional"]
    state = weights(build(name, model_kwargs=options))
    assert "head.norm.weight" in state
    torch.save({**state, "head.fc.weight": torch.zeros(5, 10)}, tmp_path / "c.pth")
    path = str(tmp_path / "c.pth")
    network = build(name, model_kwargs=options, pretrained=path)
    network.init_weights()
    assert torch.equal(network.state_dict()["head.norm.weight"], state["head.norm.weight"])
    del state["head.norm.weight"]
    torch.save(state, path)
    with pytest.raises(ConfigError, match=r"missing keys head\.norm\.weight"):
        network.init_weights()


def test_other_patches_are_an_error_and_not_resized(tmp_path):
    other = build("vit_tiny_patch16_224", model_kwargs=TINY, mask_token=True)
    torch.save(weights(other), tmp_path / "patch16.pth")
    with pytest.raises(ConfigError, match=r"proj\.weight \(8, 3, 16, 16\) instead of"):
        loaded(tmp_path / "patch16.pth")


@pytest.mark.parametrize("name", [PLAIN, REGISTERS])
def test_another_table_of_positions_is_an_error_and_not_resized(name, tmp_path):
    larger = build(name, model_kwargs={**TINY, "img_size": 56}, mask_token=True)
    torch.save(weights(larger), tmp_path / "larger.pth")
    with pytest.raises(ConfigError, match=r"other shapes pos_embed \(1, 1[67], 8\) instead of"):
        loaded(tmp_path / "larger.pth", name)


def test_weights_of_another_network_are_an_error_that_names_them(tmp_path):
    torch.save({"layer1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"missing keys cls_token.*unexpected keys layer1"):
        loaded(tmp_path / "other.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x09\x00")
    with pytest.raises(ConfigError, match="cut.safetensors'.*safetensors did not write it"):
        loaded(tmp_path / "cut.safetensors")


@pytest.mark.parametrize("name", ["hf-hub:timm/vit", "https://a/vit.pth"])
def test_an_address_is_refused(name):
    with pytest.raises(ConfigError, match="nothing is downloaded"):
        loaded(name)


def test_a_missing_file_says_where_to_get_it():
    with pytest.raises(FileNotFoundError, match=r"huggingface\.co/timm/.*dinov2_vits14") as e:
        loaded("timm/vit_small_patch14_dinov2.lvd142m")
    assert "nothing is downloaded" in str(e.value)
