"""Names of published weights: which file they mean, and that it is the published one."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_init import init_module

from mmseg.models import BACKBONES, build_segmentor
from mmseg.system.errors import ConfigError
from mmseg.system.weight_table import (
    APACHE,
    DINOV2,
    FOLDER,
    HUB,
    NAMED,
    OPEN_MMLAB,
    SIZES,
    TABLE,
    TORCHVISION,
    WeightFile,
    known_as,
    path_of,
)

NARROW = {"stem_channels": 8, "base_channels": 8}
PLAIN = {"type": "ResNet", "depth": 50, **NARROW}
DEEP = {"type": "ResNetV1c", "depth": 50, **NARROW}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    return tmp_path / "pretrained"


def publish(monkeypatch, section, name):
    """Write weights where `name` looks for them, as if they were those that are published."""
    state = init_module(BACKBONES.build(section)).state_dict()
    path = path_of(name)
    torch.save({**state, "fc.weight": torch.zeros(5, 256), "fc.bias": torch.zeros(5)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path = path.rename(path.with_name(re.sub("-.{8}.pth$", f"-{digest[:8]}.pth", path.name)))
    file = WeightFile(path.name, OPEN_MMLAB + path.name, digest[:8])
    monkeypatch.setitem(TABLE, name, replace(TABLE[name], files=(file,)))
    return state, path


def load(name, section=DEEP):
    network = BACKBONES.build({**section, "pretrained": name})
    network.init_weights()
    return network.state_dict()


def test_every_name_means_a_file_with_its_sum_below_a_known_address():
    for name, file in NAMED.items():
        kind, _, network = name.partition("://")
        assert re.fullmatch(r"[\w-]+-[0-9a-f]{8}\.pth", file)
        assert file.replace("-", "_").startswith(network), file
        assert path_of(name) == FOLDER / file
        (published,) = TABLE[name].files
        address = {"open-mmlab": OPEN_MMLAB, "torchvision": TORCHVISION}[kind]
        assert (published.address, published.sha256) == (address + file, file[-12:-4])
    assert path_of("mine/resnet50.pth") == Path("mine/resnet50.pth")


def test_every_file_of_the_table_is_known_in_any_folder_and_has_a_license():
    paths = [FOLDER / file.path for row in TABLE.values() for file in row.files]
    assert len(set(paths)) == len(paths)
    for row in TABLE.values():
        place = row.path.relative_to(FOLDER)
        assert known_as(row.path) == known_as(f"/mine/{place}") == known_as(row.name) == row
        assert row.license
    assert known_as("pretrained/demo_mit_b0_source.pth") is None
    assert known_as("pretrained/my_mit_b5.pth") is None


def test_files_of_timm_and_dinov2_lie_where_timm_looks_for_them():
    timm = pytest.importorskip("timm")
    for row in TABLE.values():
        address = row.files[0].address
        repository = address.removeprefix(f"{HUB}timm/").partition("/")[0]
        if address.startswith(f"{HUB}timm/"):
            published = timm.models.get_pretrained_cfg(repository)
            assert published.hf_hub_id == f"timm/{repository}"
            assert (published.license == "apache-2.0") == (row.license == APACHE)
        elif address.startswith(DINOV2):
            size, registers = SIZES[row.name[10]], "_reg4" * row.name.endswith("reg4")
            named = f"vit_{size}_patch14{registers}_dinov2.lvd142m"
            assert timm.models.get_pretrained_cfg(named).url == address


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("open-mmlab://resnet50_v1c", DEEP),
        ("torchvision://resnet50", PLAIN),
        (
            "open-mmlab://resnext50_32x4d",
            {"type": "ResNeXt", "depth": 50, "groups": 2, "base_width": 4, **NARROW},
        ),
        ("open-mmlab://resnest50", {"type": "ResNeSt", "depth": 50, **NARROW}),
    ],
)
def test_a_name_loads_its_file_without_the_classifier(name, section, folder, monkeypatch):
    state, _ = publish(monkeypatch, section, name)
    found = load(name, section)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_model_names_the_weights_of_its_backbone(folder, monkeypatch):
    name = "open-mmlab://resnet50_v1c"
    state, _ = publish(monkeypatch, DEEP, name)
    head = {"type": "FCNHead", "in_channels": 256, "channels": 8, "num_classes": 19}
    model = {"type": "EncoderDecoder", "pretrained": name, "backbone": DEEP}
    network = build_segmentor({**model, "decode_head": head})
    network.init_weights()
    assert torch.equal(network.backbone.stem[0].weight, state["stem.0.weight"])


def test_a_torchvision_file_does_not_fit_a_deep_stem(folder, monkeypatch):
    publish(monkeypatch, PLAIN, "torchvision://resnet50")
    with pytest.raises(ConfigError, match=r"missing keys stem.*unexpected keys conv1\.weight"):
        load("torchvision://resnet50", DEEP)


def test_a_damaged_file_is_found_by_the_sum_in_its_name(folder, monkeypatch):
    name = "open-mmlab://resnet50_v1c"
    _, path = publish(monkeypatch, DEEP, name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError) as error:
        load(name)
    message = str(error.value)
    assert f"whose SHA-256 begins with {path.stem[-8:]}, got " in message
    remedy = f"Delete it. Fetch it with: python tools/fetch_weights.py {name}."
    assert f"cut off, damaged or another one. {remedy}" in message


def test_a_missing_file_is_named_with_its_address_and_place(folder):
    with pytest.raises(FileNotFoundError) as error:
        load("torchvision://resnet101", PLAIN)
    message = str(error.value)
    assert "https://download.pytorch.org/models/resnet101-63fe2227.pth" in message
    assert f"at '{Path('pretrained/resnet101-63fe2227.pth')}'" in message
    assert "nothing is downloaded" in message


def test_an_unknown_name_is_an_error_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'open-mmlab://resnet50_v1c'"):
        load("open-mmlab://resnet50_v1")
    with pytest.raises(ConfigError, match="the path of a file.* got 'open-mmlab://'"):
        load("open-mmlab://")
