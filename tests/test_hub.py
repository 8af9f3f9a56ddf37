"""Weights on the hub are named `hf://…` wherever a file of weights is named."""

import sys
from collections.abc import Callable
from pathlib import Path

import models_cfg
import pytest
import small_runs
import tiny_run
import torch
from golden_init import init_module
from hub_cache import COMMIT, HubCache

from mmseg.apis import init_segmentor
from mmseg.apis.checks import check_run
from mmseg.apis.missing_parts import missing_parts
from mmseg.config import Config
from mmseg.engine.checkpoint import load_start, read_checkpoint
from mmseg.engine.checkpoint_folder import resume_path
from mmseg.engine.provenance import files_of_run
from mmseg.models import BACKBONES, build_segmentor
from mmseg.models.backbones.pretrained import load_pretrained
from mmseg.system.errors import ConfigError
from mmseg.system.hub import local_file
from mmseg.system.weight_files import write_safetensors
from tools import publish_checkpoint
from tools import test as test_tool

MODEL = models_cfg.daformer("mit_b0", channels=16, embed=16)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    return HubCache(tmp_path / "hub", monkeypatch)


def test_a_path_on_the_hub_means_a_file_in_the_cache(hub: HubCache) -> None:
    safe = hub.add("me/one", "weights.safetensors")
    hub.add("me/one", "README.md")
    twin = hub.add("me/one", "weights.pth")
    deep = hub.add("me/many", "a/b.pth", branch="v1")
    hub.add("me/many", "c.pth", branch="v1")
    for path, expected in {
        "hf://me/one": safe,
        "hf://me/one@main": safe,
        f"hf://me/one@{COMMIT}": safe,
        Path("hf://me/one"): safe,
        "hf://me/one/weights.pth": twin,
        "hf://me/many/a/b.pth@v1": deep,
        "some/file.pth": Path("some/file.pth"),
    }.items():
        assert local_file(path) == local_file(path, fetches=False) == expected


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("hf://me", ConfigError, "expected hf://owner/name, .* got 'hf://me'"),
        ("hf://me/many", ConfigError, "one file .* got a.pth, b.pth. Name one, .* hf://me/many/a"),
        ("hf://me/none", ConfigError, "expected a .safetensors or .pth file in 'hf://me/none'"),
        ("hf://me/gone", FileNotFoundError, "'hf://me/gone' .* HF_HUB_OFFLINE forbids"),
        ("hf://me/many/c.pth", FileNotFoundError, "'hf://me/many/c.pth' .* Correct the name"),
        ("hf://me/many@v2", FileNotFoundError, "'hf://me/many@v2' on the hub or in its cache"),
    ],
)
def test_what_the_hub_lacks_is_a_sentence(
    path: str, error: type[Exception], words: str, hub: HubCache
) -> None:
    for name in ("many/a.pth", "many/b.pth", "none/README.md"):
        hub.add(f"me/{name.partition('/')[0]}", name.partition("/")[2])
    with pytest.raises(error, match=words):
        local_file(path)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "cdda-seg\[hub\]"'):
        local_file("hf://me/one")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "cdda-seg\[hub\]"'):
        write_safetensors(Path("a.safetensors"), {}, {})


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_every_reader_of_weights_reads_the_hub(
    suffix: str, hub: HubCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also as safetensors, with the same tensors and the classes in `meta`."""
    network = init_module(build_segmentor(MODEL))
    state, meta = network.state_dict(), {"CLASSES": ["a"] * 19}
    file = hub.add("me/trained", f"weights{suffix}")
    backbone = hub.add("me/mit", f"mit{suffix}")
    own = BACKBONES.build({"type": "mit_b0"})
    init_module(own)
    for path, tensors in ((file, state), (backbone, own.state_dict())):
        if suffix == ".pth":
            torch.save({"state_dict": tensors, "meta": meta}, path)
        else:
            write_safetensors(path, tensors, meta)
    monkeypatch.chdir(tmp_path)
    config = tiny_run.write_config(tmp_path / "tiny.py", tiny_run.config(tmp_path, model=MODEL))

    def published() -> dict[str, torch.Tensor]:
        publish_checkpoint.main(["hf://me/trained", "out.pth", "--keep-precision"])
        return read_checkpoint("out.pth")["state_dict"]

    def started() -> dict[str, torch.Tensor]:
        new = build_segmentor(MODEL)
        assert "hf://me/trained" in load_start(new, "hf://me/trained")
        return new.state_dict()

    readers: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
        "read": lambda: read_checkpoint("hf://me/trained")["state_dict"],
        "load_from": started,
        "init_segmentor": lambda: init_segmentor(config, "hf://me/trained").state_dict(),
        "publish": published,
    }
    for name, read in readers.items():
        found = read()
        assert found.keys() == state.keys(), name
        assert all(torch.equal(found[key], value) for key, value in state.items()), name
    assert meta["CLASSES"] == init_segmentor(config, "hf://me/trained").CLASSES
    new = BACKBONES.build({"type": "mit_b0"})
    load_pretrained(new, "hf://me/mit", "")
    assert all(torch.equal(new.state_dict()[k], v) for k, v in own.state_dict().items())
    assert resume_path("hf://me/trained", "run", None) == file


def test_a_test_of_the_hubs_weights_needs_a_folder_for_its_results(hub: HubCache) -> None:
    with pytest.raises(SystemExit, match="expected a folder .* 'hf://me/one', got none. Add --wor"):
        test_tool.main(["tiny.py", "hf://me/one", "--eval", "mIoU"])


def test_a_config_may_name_the_hub_and_no_other_address(hub: HubCache, tmp_path: Path) -> None:
    small_runs.write_material(tmp_path)
    cfg = Config(small_runs.config(tmp_path, "cdda", load_from="hf://me/trained"))
    assert not missing_parts(cfg)
    file = hub.add("me/trained", "weights.pth")
    assert dict(files_of_run(check_run(cfg), object()))["load_from"] == file
    cfg.merge_options({"load_from": "https://a.org/weights.pth"})
    (missing,) = missing_parts(cfg)
    assert "got an address, and nothing is downloaded" in missing.sentence
    with pytest.raises(ConfigError, match="nothing is downloaded"):
        load_pretrained(torch.nn.Linear(2, 3), "https://a.org/weights.pth", "")
