"""Depth networks from local folders and from the hub's cache: right maps, or a sentence why not.

All networks are tiny and random; nothing here may reach a network of computers.
"""

import hashlib
import json
import shutil
import socket
import sys
from logging import Handler, getLogger
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from depth_runs import assert_truncated, plain_map
from tiny_models import save_tiny_depth_anything, save_tiny_dpt, save_tiny_glpn

from mmseg.preprocessing.depth_maps.network import Network, known_quantity, load_network
from mmseg.preprocessing.depth_maps.scaling import SCALING
from mmseg.system.errors import is_for_user

CPU = torch.device("cpu")
SMALL = "depth-anything/Depth-Anything-V2-Small-hf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Folders `inverse`, `metric`, `dpt` and `glpn`."""
    root = tmp_path_factory.mktemp("models")
    save_tiny_depth_anything(root / "inverse")
    save_tiny_depth_anything(root / "metric", is_metric=True)
    save_tiny_dpt(root / "dpt")
    save_tiny_glpn(root / "glpn")
    return root


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch) -> Path:
    """An empty cache of the hub, which cannot be reached."""
    from huggingface_hub import constants

    def refuse(*_args: Any) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "hub"


def load(folder: Path | str, **options: Any) -> Network:
    return load_network(str(folder), CPU, **options)


def copied(source: Path, target: Path, **config: Any) -> Path:
    """Copy a model, with other values in its configuration."""
    shutil.copytree(source, target)
    file = target / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return target


def change_weights(folder: Path, change: Any) -> Path:
    """Rewrite a model's weights, a dict of tensors, as `change` leaves them."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def image_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw blobs in color."""
    blobs = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)


def stacked(network: Network, images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([network.rule.pixels(image) for image in images]))


def levels_of(network: Network, image: np.ndarray) -> np.ndarray:
    levels, is_finite = network.maps(stacked(network, [image]), image.shape[:2])
    assert is_finite.tolist() == [True] and levels.shape == (1, *image.shape[:2])
    return levels[0].numpy()


@pytest.mark.parametrize("name", ["inverse", "metric"])
def test_maps_are_those_of_a_plain_loop(models: Path, name: str) -> None:
    network = load(models / name)
    assert network.quantity == name and network.device == CPU
    images = [image_of(52, 95, seed) for seed in range(3)]
    expected = [plain_map(models / name, image, name == "metric") for image in images]
    for image, values in zip(images, expected, strict=True):
        levels = levels_of(network, image)
        assert_truncated(levels, values)
        assert len(np.unique(levels)) > 50
    together = network.maps(stacked(network, images), (52, 95))[0].numpy()
    assert_truncated(together, np.stack(expected))


def test_other_types_of_networks_give_maps(models: Path) -> None:
    image = image_of(70, 99)
    for name, quantity, inputs in (("dpt", "inverse", (32, 32)), ("glpn", "metric", (64, 96))):
        network = load(models / name)
        assert network.quantity == quantity
        assert stacked(network, [image]).shape[2:] == inputs
        assert len(np.unique(levels_of(network, image))) > 50


def test_meters_are_turned_round_unless_the_user_says_otherwise(models: Path) -> None:
    network, as_is = load(models / "metric"), load(models / "metric", quantity="inverse")
    near, far = (levels_of(n, image_of(28, 56)).astype(float) for n in (network, as_is))
    assert np.corrcoef(near.ravel(), far.ravel())[0, 1] < -0.8
    assert near[far == 0].max() == 255 and near[far == 255].min() == 0
    assert any("inverted" in line for line in network.describe())
    assert not any("inverted" in line for line in as_is.describe())


def test_a_constant_prediction_becomes_0_and_nan_is_marked_for_its_image_alone(
    models: Path, tmp_path: Path
) -> None:
    folder = copied(models / "inverse", tmp_path / "model")
    change_weights(folder, lambda weights: weights["head.conv3.weight"].zero_())
    assert levels_of(load(folder), image_of(29, 60)).max() == 0
    network = load(models / "inverse")
    pixels = stacked(network, [image_of(40, 80, seed) for seed in range(3)])
    expected, _ = network.maps(pixels, (40, 80))
    pixels[1, 0, 3, 3] = torch.nan
    levels, is_finite = network.maps(pixels, (40, 80))
    assert is_finite.tolist() == [True, False, True]
    assert levels[[0, 2]].equal(expected[[0, 2]]) and levels[1].max() == 0


def test_the_recipe_holds_the_weights_and_the_input(models: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(models / "inverse/model.safetensors")
    parts = [
        f"{name} float32 {list(value.shape)}\n".encode() + value.numpy().tobytes()
        for name, value in sorted(weights.items())
    ]
    recipe = json.loads(json.dumps(load(models / "inverse").recipe()))
    assert recipe.pop("input")["size"] == [28, 28]
    assert recipe == {
        "source": "model", "weights_sha256": hashlib.sha256(b"".join(parts)).hexdigest(),
        "quantity": "inverse", "scaling": SCALING,
    }  # fmt: skip


def test_a_network_in_several_files_or_pickled_has_the_recipe_of_the_whole(
    models: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForDepthEstimation

    parts = copied(models / "inverse", tmp_path / "parts")
    AutoModelForDepthEstimation.from_pretrained(parts).save_pretrained(parts, max_shard_size="9KB")
    (parts / "model.safetensors").unlink()
    assert len(list(parts.glob("*.safetensors"))) > 2
    pickled = copied(models / "inverse", tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    for folder in (parts, pickled):
        assert load(folder).recipe() == load(models / "inverse").recipe(), folder


def test_other_weights_or_types_are_another_recipe(models: Path, tmp_path: Path) -> None:
    def nudge(weights: Weights) -> None:
        weights["head.conv1.bias"][0] += 1e-7

    def halve(weights: Weights) -> None:
        weights.update({name: value.half() for name, value in weights.items()})

    nudged = change_weights(copied(models / "inverse", tmp_path / "nudged"), nudge)
    half = change_weights(copied(models / "inverse", tmp_path / "half", dtype="float16"), halve)
    folders = [nudged, half, models / "inverse", save_tiny_depth_anything(tmp_path / "o", seed=1)]
    assert len({load(folder).recipe()["weights_sha256"] for folder in folders}) == 4
    image, network = image_of(52, 95), load(half)  # computes in float32 all the same
    assert_truncated(levels_of(network, image), plain_map(half, image))
    assert network.details()["precision"] == "float32"


def test_details_and_lines_say_what_makes_the_maps(models: Path) -> None:
    network = load(models / "inverse", amp=True)
    details = json.loads(json.dumps(network.details()))
    versions = details.pop("versions")
    assert list(versions) == ["python", "torch", "transformers", "opencv"]
    assert versions["torch"] == torch.__version__ and versions["opencv"] == cv2.__version__
    assert details == {
        "model": str(models / "inverse"), "architecture": "DepthAnythingForDepthEstimation",
        "revision": None, "precision": "autocast to bfloat16",
    }  # fmt: skip
    assert network.describe() == [
        f"Model: {models / 'inverse'} (DepthAnythingForDepthEstimation)",
        "Input: cover 28x28, multiples of 14, cubic interpolation",
        f"Output: inverse depth; {SCALING}",
        "Computed in autocast to bfloat16 on cpu",
    ]


def test_amp_on_a_cpu_gives_nearly_the_same_levels(models: Path) -> None:
    image = image_of(40, 80)
    one, other = (
        levels_of(load(models / "inverse", amp=amp), image).astype(int) for amp in (False, True)
    )
    # bfloat16 has 8 bits: a layer errs by 1/256. Of eight such networks the most were 5 levels.
    assert 0 < np.abs(one - other).max() <= 16


def test_an_alias_is_found_in_the_cache_of_the_hub(models: Path, hub: Path) -> None:
    folder = hub / f"models--{SMALL.replace('/', '--')}"
    shutil.copytree(models / "inverse", folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    for name in ("small", SMALL):
        network = load(name)
        assert network.recipe() == load(models / "inverse").recipe()
        details = network.details()
        assert (details["model"], details["revision"]) == (SMALL, COMMIT)
        assert f"revision {COMMIT}, license Apache-2.0" in network.describe()[0]


def test_a_local_folder_needs_no_hub_and_makes_no_noise(models: Path, monkeypatch, capfd) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    records: list[str] = []
    listener = Handler()
    listener.emit = lambda record: records.append(record.getMessage())
    getLogger("transformers").addHandler(listener)
    try:
        load(models / "inverse").recipe()
        load(models / "glpn")
    finally:
        getLogger("transformers").removeHandler(listener)
    assert capfd.readouterr() == ("", "") and records == []


def drop(name: str) -> Any:
    """Remove the weights whose names begin so."""

    def change(weights: Weights) -> None:
        gone = [key for key in weights if key.startswith(name)]
        assert gone
        for key in gone:
            del weights[key]

    return change


def test_weights_that_are_never_used_may_be_missing(models: Path, tmp_path: Path) -> None:
    """The published DPT networks lack those of the first fusion layer's residual."""
    unused = drop("neck.fusion_stage.layers.0.residual_layer1")
    folder, image = (
        change_weights(copied(models / "dpt", tmp_path / "model"), unused),
        image_of(33, 47),
    )
    assert (levels_of(load(folder), image) == levels_of(load(models / "dpt"), image)).all()


def sentence(model: Path | str, **options: Any) -> str:
    """Return the error of a model, which has to be one for the user."""
    with pytest.raises((OSError, ValueError, ImportError)) as caught:
        load(model, **options)
    assert is_for_user(caught.value)
    text = str(caught.value)
    assert "expected" in text and "got" in text and "; " in text
    return text


@pytest.mark.parametrize(
    ("model", "name", "license"),
    [
        ("small", "Small", "Apache-2.0."),
        ("base", "Base", "CC-BY-NC-4.0: not for commercial use."),
        ("depth-anything/Depth-Anything-V2-Large-hf", "Large", "CC-BY-NC-4.0: not for"),
    ],
)
def test_weights_that_are_not_there_say_where_from_and_the_license(model, name, license) -> None:
    text = sentence(model)
    full = f"depth-anything/Depth-Anything-V2-{name}-hf"
    assert f"hf download {full} --local-dir pretrained/Depth-Anything-V2-{name}-hf" in text
    assert f"License of its weights: {license}" in text and "HF_HUB_OFFLINE forbids" in text


def test_names_and_paths_of_nothing_say_so(tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    nothing = "named 'no-such/network', got: it is not among the downloaded"
    assert nothing in sentence("no-such/network")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for model in ("./nothing", str(tmp_path / "nothing"), "~/no-such-folder-anywhere"):
        assert f"at '{model}', got no such folder; download" in sentence(model)
    (tmp_path / "file").touch()
    assert "got a file" in sentence(tmp_path / "file")
    assert "'a/b/c', got: " in sentence("a/b/c")  # no name that the hub could know
    text = sentence("large")  # which cannot be reached
    assert "ConnectError" in text and "License of its weights: CC-BY-NC-4.0" in text


def test_folders_that_hold_no_whole_network_say_what_is_missing(
    models: Path, tmp_path: Path
) -> None:
    inverse = models / "inverse"
    (tmp_path / "empty").mkdir()
    assert "config.json" in sentence(tmp_path / "empty")
    folder = copied(inverse, tmp_path / "weightless")
    (folder / "model.safetensors").unlink()
    text = sentence(folder)
    assert "no file named model.safetensors" in text and "hf download" in text
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps({**index, "metadata": {}}))
    shutil.copyfile(inverse / "model.safetensors", folder / "model-1-of-2.safetensors")
    assert "expected a depth network" in sentence(folder)
    for name, count in (("head.conv2.bias", 1), ("head.", 6)):
        folder = change_weights(copied(inverse, tmp_path / name), drop(name))
        assert f"a file without {count} of them (or of other shapes), such as head." in sentence(
            folder
        )
    folder = copied(models / "dpt", tmp_path / "ruleless")
    (folder / "preprocessor_config.json").unlink()
    assert "expected preprocessor_config.json" in sentence(folder)


def test_files_that_cannot_be_used_are_named(models: Path, tmp_path: Path) -> None:
    inverse = models / "inverse"
    wide = {"head.conv2.weight": torch.zeros(3, 5, 3, 3)}
    folder = change_weights(copied(inverse, tmp_path / "wide"), lambda w: w.update(wide))
    assert "without 1 of them (or of other shapes), such as head.conv2.weight" in sentence(folder)
    folder = copied(inverse, tmp_path / "cut")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:999])
    assert "expected a depth network" in sentence(folder)
    folder = copied(inverse, tmp_path / "broken")
    for content in ("{", "[]", '{"size": "small"}'):
        (folder / "preprocessor_config.json").write_text(content)
        assert "expected the settings of an image processor" in sentence(folder)
    (folder / "config.json").write_text("{")
    assert "expected a depth network that this version" in sentence(folder)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"model_type": "dinov2"}, "Dinov2Config"),
        ({"model_type": "no_such_type"}, "expected a depth network that this version of transf"),
        ({"fusion_hidden_size": "many"}, "expected "),  # how much is said depends on the version
        ({"auto_map": {"AutoConfig": "code.Config"}, "model_type": "own"}, "custom code"),
    ],
)
def test_networks_that_are_no_depth_networks_are_named(models, tmp_path, config, text) -> None:
    folder = copied(models / "inverse", tmp_path / "model", **config)
    (folder / "code.py").write_text("raise SystemExit('code of a model was run')")
    assert text in sentence(folder)


def test_what_a_network_predicts_is_known_by_its_type_or_asked_for(models: Path) -> None:
    from transformers import DPTConfig, PromptDepthAnythingConfig

    with pytest.raises(ValueError, match="'prompt_depth_anything' of 'x'; .*--quantity metric"):
        known_quantity(PromptDepthAnythingConfig(), "x")
    assert load(models / "glpn", quantity="inverse").quantity == "inverse"
    trained_on_meters = DPTConfig(backbone_config={"model_type": "dinov2"})
    assert known_quantity(trained_on_meters, "") == "metric"


def test_a_missing_package_is_named(models: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    text = sentence(models / "inverse")
    assert 'pip install "cdda-seg[depth]"' in text and 'pip install "transformers>=5"' in text


@pytest.mark.gpu
def test_a_gpu_gives_the_same_maps_and_does_not_wait(models: Path) -> None:
    cuda = torch.device("cuda", 0)
    exact = load(models / "inverse")
    pixels = stacked(exact, [image_of(52, 95, seed) for seed in range(3)])
    expected = exact.maps(pixels, (52, 95))[0].int()
    # TF32 in convolutions has 10 bits; float16 too.
    for amp, limit in ((False, 4), (True, 8)):
        network = load_network(str(models / "inverse"), cuda, amp=amp)
        on_device = pixels.to(cuda)
        network.maps(on_device, (52, 95))  # the first call chooses kernels
        torch.cuda.set_sync_debug_mode("error")
        try:
            levels, is_finite = network.maps(on_device, (52, 95))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert levels.device == cuda and is_finite.tolist() == [True] * 3
        assert (levels.cpu().int() - expected).abs().max() <= limit
        assert network.recipe() == exact.recipe()
    assert "autocast to float16 on cuda:0" in network.describe()[3]
