"""Names of published weights: which file they mean, and that it is the published one."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from golden_init import init_module

from mmseg.models import BACKBONES, build_segmentor
from mmseg.models.backbones import weight_names
from mmseg.models.backbones.weight_names import ADDRESSES, FILES, path_of
from mmseg.system.errors import ConfigError

NARROW = {"stem_channels": 8, "base_channels": 8}
TORCHVISION = {"type": "ResNet", "depth": 50, **NARROW}
OPEN_MMLAB = {"type": "ResNetV1c", "depth": 50, **NARROW}


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
    monkeypatch.setitem(weight_names.FILES, name, path.name)
    return state, path


def load(name, section=OPEN_MMLAB):
    network = BACKBONES.build({**section, "pretrained": name})
    network.init_weights()
    return network.state_dict()


def test_every_name_means_a_file_with_its_sum_below_a_known_address():
    for name, file in FILES.items():
        kind, _, network = name.partition("://")
        assert kind in ADDRESSES
        assert re.fullmatch(r"[\w-]+-[0-9a-f]{8}\.pth", file)
        assert file.replace("-", "_").startswith(network), file
        assert path_of(name) == Path("pretrained") / file
    assert path_of("mine/resnet50.pth") == Path("mine/resnet50.pth")


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("open-mmlab://resnet50_v1c", OPEN_MMLAB),
        ("torchvision://resnet50", TORCHVISION),
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
    state, _ = publish(monkeypatch, OPEN_MMLAB, name)
    head = {"type": "FCNHead", "in_channels": 256, "channels": 8, "num_classes": 19}
    model = {"type": "EncoderDecoder", "pretrained": name, "backbone": OPEN_MMLAB}
    network = build_segmentor({**model, "decode_head": head})
    network.init_weights()
    assert torch.equal(network.backbone.stem[0].weight, state["stem.0.weight"])


def test_a_torchvision_file_does_not_fit_a_deep_stem(folder, monkeypatch):
    publish(monkeypatch, TORCHVISION, "torchvision://resnet50")
    with pytest.raises(ConfigError, match=r"missing keys stem.*unexpected keys conv1\.weight"):
        load("torchvision://resnet50", OPEN_MMLAB)


def test_a_damaged_file_is_found_by_the_sum_in_its_name(folder, monkeypatch):
    name = "open-mmlab://resnet50_v1c"
    _, path = publish(monkeypatch, OPEN_MMLAB, name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError) as error:
        load(name)
    message, address = str(error.value), ADDRESSES["open-mmlab"] + path.name
    assert f"whose SHA-256 begins with {path.stem[-8:]}, got " in message
    assert f"cut off, damaged or another one. Download {address} again." in message


def test_a_missing_file_is_named_with_its_address_and_place(folder):
    with pytest.raises(FileNotFoundError) as error:
        load("torchvision://resnet101", TORCHVISION)
    message = str(error.value)
    assert "https://download.pytorch.org/models/resnet101-63fe2227.pth" in message
    assert f"at '{Path('pretrained/resnet101-63fe2227.pth')}'" in message
    assert "nothing is downloaded" in message


def test_an_unknown_name_is_an_error_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'open-mmlab://resnet50_v1c'"):
        load("open-mmlab://resnet50_v1")
    with pytest.raises(ConfigError, match="the path of a file.* got 'open-mmlab://'"):
        load("open-mmlab://")
