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
from depth_runs import assert_truncated
from tiny_models import save_tiny_depth_anything, save_tiny_dpt, save_tiny_glpn
from torch.nn import functional

from mmseg.preprocessing.depth_maps.network import Network, load_network
from mmseg.preprocessing.depth_maps.scaling import SCALING
from mmseg.system.errors import is_for_user

CPU = torch.device("cpu")
SMALL = "depth-anything/Depth-Anything-V2-Small-hf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Folders `inverse`, `metric`, `plain` (without a rule), `dpt` and `glpn`."""
    root = tmp_path_factory.mktemp("models")
    save_tiny_depth_anything(root / "inverse")
    save_tiny_depth_anything(root / "metric", is_metric=True)
    save_tiny_depth_anything(root / "plain", shorter_side=None)
    save_tiny_dpt(root / "dpt")
    save_tiny_glpn(root / "glpn")
    return root


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch) -> Path:
    """An empty cache of the hub, which cannot be reached."""
    from huggingface_hub import constants

    def refuse(*_args: Any) -> None:
        raise AssertionError("somebody wants to reach another computer")

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
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)


def stacked(network: Network, images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([network.rule.pixels(image) for image in images]))


def plain_map(
    folder: Path, image: np.ndarray, size: tuple[int, int], is_metric: bool
) -> np.ndarray:
    """One image, step by step, in float64 and not truncated."""
    from transformers import AutoModelForDepthEstimation

    model = AutoModelForDepthEstimation.from_pretrained(folder).double().eval()
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) / 255.0
    rgb = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_CUBIC)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    values = torch.from_numpy(((rgb - mean) / std).transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        depth = model(pixel_values=values).predicted_depth
    depth = functional.interpolate(
        depth[:, None], image.shape[:2], mode="bilinear", align_corners=True
    )[0, 0].numpy()
    if is_metric:
        depth = 1 / np.maximum(depth, 0.1)
    return (depth - depth.min()) / (depth.max() - depth.min()) * 255


@pytest.mark.parametrize(("name", "is_metric"), [("inverse", False), ("metric", True)])
def test_maps_are_those_of_a_plain_loop(models: Path, name: str, is_metric: bool) -> None:
    network = load(models / name)
    assert network.quantity == name and network.device == CPU
    images = [image_of(52, 95, seed) for seed in range(3)]
    expected = [plain_map(models / name, image, (28, 56), is_metric) for image in images]
    for image, values in zip(images, expected, strict=True):
        stored = network.maps(stacked(network, [image]), (52, 95))
        assert stored.levels.shape == (1, 52, 95) and stored.is_finite.tolist() == [True]
        assert_truncated(stored.levels[0].numpy(), values)
        assert len(stored.levels.unique()) > 50
    together = network.maps(stacked(network, images), (52, 95)).levels.numpy()
    assert_truncated(together, np.stack(expected))


def test_without_its_file_depth_anything_gets_a_shorter_side_of_518(models: Path) -> None:
    network = load(models / "plain")
    image = image_of(30, 41)
    pixels = stacked(network, [image])
    assert pixels.shape == (1, 3, 518, 714)
    levels = network.maps(pixels, (30, 41)).levels[0].numpy()
    assert_truncated(levels, plain_map(models / "plain", image, (518, 714), is_metric=False))


def test_other_types_of_networks_give_maps(models: Path) -> None:
    image = image_of(70, 99)
    for name, quantity, inputs in (("dpt", "inverse", (32, 32)), ("glpn", "metric", (64, 96))):
        network = load(models / name)
        pixels = stacked(network, [image])
        stored = network.maps(pixels, (70, 99))
        assert network.quantity == quantity and pixels.shape[2:] == inputs
        assert stored.is_finite.all() and len(stored.levels.unique()) > 50


def test_meters_are_turned_round_unless_the_user_says_otherwise(models: Path) -> None:
    network, as_is = load(models / "metric"), load(models / "metric", quantity="inverse")
    pixels = stacked(network, [image_of(28, 56)])
    near, far = (n.maps(pixels, (28, 56)).levels[0].float().flatten() for n in (network, as_is))
    assert torch.corrcoef(torch.stack([near, far]))[0, 1] < -0.8
    assert near[far == 0].max() == 255 and near[far == 255].min() == 0
    assert any("inverted" in line for line in network.describe())
    assert not any("inverted" in line for line in as_is.describe())


def test_a_constant_prediction_becomes_0(models: Path, tmp_path: Path) -> None:
    folder = copied(models / "inverse", tmp_path / "model")
    change_weights(folder, lambda weights: weights["head.conv3.weight"].zero_())
    network = load(folder)
    stored = network.maps(stacked(network, [image_of(29, 60)]), (29, 60))
    assert stored.levels.max() == 0 and stored.is_finite.tolist() == [True]


def test_a_prediction_of_nan_is_marked_for_its_image_alone(models: Path) -> None:
    network = load(models / "inverse")
    pixels = stacked(network, [image_of(40, 80, seed) for seed in range(3)])
    expected = network.maps(pixels, (40, 80)).levels
    pixels[1, 0, 3, 3] = torch.nan
    stored = network.maps(pixels, (40, 80))
    assert stored.is_finite.tolist() == [True, False, True]
    assert stored.levels[[0, 2]].equal(expected[[0, 2]]) and stored.levels[1].max() == 0


def test_the_recipe_holds_the_weights_and_the_input(models: Path) -> None:
    network = load(models / "inverse")
    recipe = network.recipe()
    assert json.loads(json.dumps(recipe)) == recipe
    assert set(recipe) == {"source", "weights_sha256", "quantity", "input", "scaling"}
    assert recipe["input"] == network.rule.as_dict() and recipe["input"]["size"] == [28, 28]
    assert (recipe["source"], recipe["scaling"]) == ("model", SCALING)
    assert recipe["weights_sha256"] == plain_hash(models / "inverse")


def plain_hash(folder: Path) -> str:
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    parts = [
        f"{name} float32 {list(value.shape)}\n".encode() + value.numpy().tobytes()
        for name, value in sorted(weights.items())
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_all_copies_of_a_network_have_one_recipe(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForDepthEstimation

    expected = load(models / "inverse").recipe()
    copies = [copied(models / "inverse", tmp_path / name) for name in ("whole", "parts", "pickle")]
    AutoModelForDepthEstimation.from_pretrained(copies[1]).save_pretrained(
        copies[1], max_shard_size="9KB"
    )
    (copies[1] / "model.safetensors").unlink()
    assert len(list(copies[1].glob("*.safetensors"))) > 2
    weights = load_file(copies[2] / "model.safetensors")
    torch.save(weights, copies[2] / "pytorch_model.bin")
    (copies[2] / "model.safetensors").unlink()
    for folder in copies:
        assert load(folder).recipe() == expected, folder


def test_other_weights_names_or_types_are_another_recipe(models: Path, tmp_path: Path) -> None:
    def nudge(weights: dict[str, torch.Tensor]) -> None:
        weights["head.conv1.bias"][0] += 1e-7

    def halve(weights: dict[str, torch.Tensor]) -> None:
        weights.update({name: value.half() for name, value in weights.items()})

    folders = [copied(models / "inverse", tmp_path / "nudged")]
    folders += [copied(models / "inverse", tmp_path / "half", dtype="float16")]
    for folder, change in zip(folders, (nudge, halve), strict=True):
        change_weights(folder, change)
    folders += [models / "inverse", save_tiny_depth_anything(tmp_path / "other", seed=1)]
    assert len({load(folder).recipe()["weights_sha256"] for folder in folders}) == 4
    image = image_of(52, 95)
    network = load(tmp_path / "half")  # computes in float32 all the same
    levels = network.maps(stacked(network, [image]), (52, 95)).levels[0].numpy()
    assert_truncated(levels, plain_map(tmp_path / "half", image, (28, 56), is_metric=False))
    assert network.details()["precision"] == "float32"


def test_details_and_lines_say_what_makes_the_maps(models: Path) -> None:
    network = load(models / "inverse", amp=True)
    details = network.details()
    assert json.loads(json.dumps(details)) == details
    versions = details.pop("versions")
    assert set(versions) == {"python", "torch", "transformers", "opencv"}
    assert versions["torch"] == torch.__version__ and versions["opencv"] == cv2.__version__
    assert details == {
        "model": str(models / "inverse"), "architecture": "DepthAnythingForDepthEstimation",
        "revision": None, "precision": "autocast to bfloat16",
    }  # fmt: skip
    assert network.describe() == [
        f"Model: {models / 'inverse'} (DepthAnythingForDepthEstimation)",
        "Input: shorter side 28, sides multiples of 14, cubic interpolation",
        f"Output: inverse depth; {SCALING}",
        "Computed in autocast to bfloat16 on cpu",
    ]


def test_amp_on_a_cpu_gives_nearly_the_same_levels(models: Path) -> None:
    exact, fast = load(models / "inverse"), load(models / "inverse", amp=True)
    pixels = stacked(exact, [image_of(40, 80)])
    one, other = (n.maps(pixels, (40, 80)).levels.int() for n in (exact, fast))
    # bfloat16 has 8 bits: a layer errs by 1/256. Of eight such networks the most were 5 levels.
    assert 0 < (one - other).abs().max() <= 16


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
    from transformers.utils import logging

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    records: list[str] = []
    listener = Handler()
    listener.emit = lambda record: records.append(record.getMessage())
    before = logging.get_verbosity()
    logging.set_verbosity_info()
    getLogger("transformers").addHandler(listener)
    try:
        load(models / "inverse").recipe()
        load(models / "glpn")
        assert logging.get_verbosity() == logging.INFO and logging.is_progress_bar_enabled()
    finally:
        getLogger("transformers").removeHandler(listener)
        logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "") and records == []


def test_weights_that_are_never_used_may_be_missing(models: Path, tmp_path: Path) -> None:
    """The published DPT networks lack those of the first fusion layer's residual."""

    def drop(weights: dict[str, torch.Tensor]) -> None:
        unused = [n for n in weights if n.startswith("neck.fusion_stage.layers.0.residual_layer1")]
        assert len(unused) == 4
        for name in unused:
            del weights[name]

    folder = change_weights(copied(models / "dpt", tmp_path / "model"), drop)
    whole, part = load(models / "dpt"), load(folder)
    pixels = stacked(whole, [image_of(33, 47)])
    assert part.maps(pixels, (33, 47)).levels.equal(whole.maps(pixels, (33, 47)).levels)


def sentence(model: Path | str, **options: Any) -> str:
    """Return the error of a model, which has to be one for the user."""
    with pytest.raises((OSError, ValueError, ImportError)) as caught:
        load(model, **options)
    assert is_for_user(caught.value)
    text = str(caught.value)
    assert "expected" in text and "got" in text and "; do " in text
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

    assert "named 'no-such/network', got: it is not among the downloaded" in sentence(
        "no-such/network"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # refused before anybody is asked
    for model in ("./nothing", str(tmp_path / "nothing"), "~/no-such-folder-anywhere"):
        assert f"at '{model}', got no such folder; do download" in sentence(model)
    (tmp_path / "file").touch()
    assert "got a file" in sentence(tmp_path / "file")
    assert "'a/b/c', got: " in sentence("a/b/c")  # no name that the hub could know


def test_a_hub_that_cannot_be_reached_is_a_sentence(monkeypatch) -> None:
    from huggingface_hub import constants

    def refuse(*_args: Any) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    text = sentence("large")
    assert "ConnectError" in text and "License of its weights: CC-BY-NC-4.0" in text


def test_folders_that_hold_no_whole_network_say_what_is_missing(
    models: Path, tmp_path: Path
) -> None:
    def drop(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if not name.startswith("backbone.")]:
            del weights[name]

    inverse = models / "inverse"
    (tmp_path / "empty").mkdir()
    assert "expected config.json" in sentence(tmp_path / "empty")
    folder = copied(inverse, tmp_path / "weightless")
    (folder / "model.safetensors").unlink()
    text = sentence(folder)
    assert "expected model.safetensors or pytorch_model.bin" in text and "hf download" in text
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.copyfile(inverse / "model.safetensors", folder / "model-1-of-2.safetensors")
    assert "expected model-2-of-2.safetensors" in sentence(folder)
    backbone = change_weights(copied(inverse, tmp_path / "backbone"), drop)
    assert "a file without 34 of them, such as head.conv1.bias" in sentence(backbone)
    folder = copied(inverse, tmp_path / "one")
    change_weights(folder, lambda weights: weights.pop("head.conv2.bias"))
    assert "without 1 of them, such as head.conv2.bias" in sentence(folder)
    folder = copied(models / "dpt", tmp_path / "ruleless")
    (folder / "preprocessor_config.json").unlink()
    assert "expected preprocessor_config.json" in sentence(folder)


def test_files_that_cannot_be_used_are_named(models: Path, tmp_path: Path) -> None:
    inverse = models / "inverse"

    def widen(weights: dict[str, torch.Tensor]) -> None:
        weights["head.conv2.weight"] = torch.zeros(3, 5, 3, 3)

    folder = change_weights(copied(inverse, tmp_path / "wide"), widen)
    assert "head.conv2.weight of shape [3, 2, 3, 3]" in sentence(folder)
    assert "got [3, 5, 3, 3]" in sentence(folder)
    folder = copied(inverse, tmp_path / "cut")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:999])
    assert "expected weights of a depth network" in sentence(folder)
    for name in ("config.json", "preprocessor_config.json"):
        folder = copied(inverse, tmp_path / f"broken {name}")
        (folder / name).write_text("{")
        assert f"expected JSON in '{folder / name}'" in sentence(folder)
        (folder / name).write_text("[]")
        assert f"expected an object in '{folder / name}'" in sentence(folder)
    (folder / "preprocessor_config.json").write_text('{"size": "small"}')
    assert "preprocessor_config.json': expected the settings" in sentence(folder)


def test_networks_that_are_no_depth_networks_are_named(models: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model_type": "dinov2"}, "expected a depth network, got 'dinov2'"),
        ({"model_type": "no_such_type"}, "expected a network that this version of transformers"),
        ({"fusion_hidden_size": "many"}, "expected "),  # how much is said depends on the version
        ({"backbone": "some/net", "backbone_config": None}, "got a backbone by name only"),
        ({"auto_map": {"AutoConfig": "code.Config"}, "model_type": "own"}, "custom code"),
    ]
    for number, (config, text) in enumerate(cases):
        folder = copied(models / "inverse", tmp_path / str(number), **config)
        (folder / "code.py").write_text("raise SystemExit('code of a model was run')")
        assert text in sentence(folder)


def test_what_a_network_predicts_is_known_by_its_type_or_asked_for(
    models: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "prompt_depth_anything"}')
    text = sentence(tmp_path)
    assert "got 'prompt_depth_anything'" in text and "--quantity metric" in text
    assert "expected preprocessor_config.json" in sentence(tmp_path, quantity="metric")
    assert "'inverse' or 'metric', got 'meters'" in sentence(models / "dpt", quantity="meters")
    assert load(models / "glpn", quantity="inverse").quantity == "inverse"
    from transformers import DPTConfig

    from mmseg.preprocessing.depth_maps.checkpoints import Checkpoint
    from mmseg.preprocessing.depth_maps.loading import known_quantity

    trained_on_meters = DPTConfig(backbone_config={"model_type": "dinov2"})
    assert known_quantity(trained_on_meters, Checkpoint("", tmp_path)) == "metric"


def test_a_missing_package_is_named(models: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    text = sentence(models / "inverse")
    assert 'pip install "cdda-seg[depth]"' in text and 'pip install "transformers>=5"' in text


@pytest.mark.gpu
def test_a_gpu_gives_the_same_maps_and_does_not_wait(models: Path) -> None:
    cuda = torch.device("cuda", 0)
    exact = load(models / "inverse")
    images = [image_of(52, 95, seed) for seed in range(3)]
    pixels = stacked(exact, images)
    expected = exact.maps(pixels, (52, 95)).levels.int()
    # TF32 in convolutions has 10 bits; float16 too.
    for amp, limit in ((False, 4), (True, 8)):
        network = load_network(str(models / "inverse"), cuda, amp=amp)
        assert network.device == cuda
        on_device = pixels.to(cuda)
        network.maps(on_device, (52, 95))  # the first call chooses kernels
        torch.cuda.set_sync_debug_mode("error")
        try:
            stored = network.maps(on_device, (52, 95))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert stored.levels.device == cuda and stored.is_finite.tolist() == [True] * 3
        assert (stored.levels.cpu().int() - expected).abs().max() <= limit
        assert network.recipe() == exact.recipe()
    assert "autocast to float16 on cuda:0" in network.describe()[3]
