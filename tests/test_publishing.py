"""A published folder: all weights, a card that says what they are, and no path of the machine."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import models_cfg
import pytest
import tiny_run
import torch
import yaml
from golden_init import init_module
from torch import Tensor

from mmseg.apis import init_segmentor
from mmseg.apis.publishing.machine_paths import shared_config, without_machine
from mmseg.config import Config, load_config
from mmseg.config.run_config import config_hash
from mmseg.engine.checkpoint import make_meta, read_checkpoint
from mmseg.models import build_segmentor
from tools import publish_checkpoint
from tools import test as test_tool

MODEL = models_cfg.daformer("mit_b0", channels=16, embed=16)
NAMES = ["README.md", "config.py", "net.safetensors", "repro.json"]
CLASSES = [f"kind {n}" for n in range(19)]


def weights() -> dict[str, Tensor]:
    return init_module(build_segmentor(MODEL)).state_dict()


def config(root: Path, **changes: Any) -> Config:
    """Return a config that is full of a machine's paths."""
    values = tiny_run.config(root, model={**MODEL, "pretrained": f"{root}/pretrained/mit_b0.pth"})
    values["uda"] |= {"matrix_path": f"{root}/bank.pth", "mask_mode": "separatetrgaug"}
    return Config({**values, "work_dir": f"{root}/run", "git_rev": "abc", **changes})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run, with checkpoint, results and record; commands run beside it."""
    folder = tmp_path / "machine/run"
    folder.mkdir(parents=True)
    write_run(folder, config(tmp_path / "machine"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def write_run(folder: Path, cfg: Config) -> None:
    state = weights()
    both = {**{f"model.{k}": v for k, v in state.items()}}
    both |= {f"ema_model.{k}": v + 1 for k, v in state.items()}
    meta = make_meta(cfg.dump(), CLASSES, [[n, 2, 3] for n in range(19)], 7, 5)
    content = {"meta": meta, "state_dict": both, "optimizer": {"state": {}}, "iteration": 7}
    torch.save(content, folder / "iter_7.pth")
    scores = {name: {"IoU": 0.5 if n else None} for n, name in enumerate(CLASSES)}
    record = {"split": f"{folder.parent}/val", "num_images": 3, "mIoU": 0.4567}
    record |= {"per_class": scores, "iteration": 6, "checkpoint": None}
    best = {**record, "mIoU": 0.6789, "iteration": 7, "checkpoint": "best_mIoU_iter_7.pth"}
    (folder / "results.json").write_text(json.dumps({**record, "best": best}))
    arguments = ["tools/train.py", f"--work-dir={folder}", f"load_from={folder}/a b.pth"]
    files = {"load_from": {"path": f"{folder}/a.pth", "sha256": "12"}}
    repro = {"command": {"arguments": arguments, "folder": str(folder)}, "files": files}
    (folder / "repro.json").write_text(json.dumps(repro))


def publish(run: Path, *words: str, out: str = "net/net.safetensors") -> None:
    publish_checkpoint.main([str(run / "iter_7.pth"), out, *words])


def card() -> str:
    return Path("net/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("network", ["student", "teacher"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_all_weights_are_in_the_file(network: str, suffix: str, run: Path) -> None:
    for words in ([], ["--keep-precision"], ["--original-keys"]):
        publish(run, "--eval-model", network, *words, out=f"net/net.{suffix}")
        found = read_checkpoint(f"net/net.{suffix}")["state_dict"]
        prefix = "model." if "--original-keys" in words else ""
        state = {prefix + k: v + (network == "teacher") for k, v in weights().items()}
        assert found.keys() == state.keys()
        for key, value in state.items():
            is_halved = value.is_floating_point() and "--keep-precision" not in words
            assert torch.equal(found[key], value.half() if is_halved else value), key


def test_a_published_folder_is_a_checkpoint_and_its_config(run: Path, tmp_path: Path) -> None:
    publish(run, "--keep-precision", "--original-keys")
    assert sorted(path.name for path in Path("net").iterdir()) == NAMES
    model = init_segmentor("net/config.py", "net/net.safetensors", device="cpu")
    assert (model.CLASSES, model.PALETTE[3]) == (CLASSES, [3, 2, 3])
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights().items())
    meta = read_checkpoint("net/net.safetensors")["meta"]
    assert meta["versions"]["torch"] == torch.__version__
    assert Config.fromstring(meta["config"], ".py") == load_config("net/config.py")
    tiny_run.write_pictures(tmp_path)
    cfg = tiny_run.write_config(tmp_path / "t.py", tiny_run.config(tmp_path, model=MODEL))
    test_tool.main([str(cfg), "net/net.safetensors", "--eval", "mIoU", "--work-dir", "tested"])
    assert json.loads(Path("tested/results.json").read_text())["num_images"] == 3


def test_nothing_that_is_published_names_the_machine(run: Path, tmp_path: Path) -> None:
    publish(run)
    for name in NAMES:
        content = Path("net", name).read_bytes()
        assert str(tmp_path).encode() not in content, name
        assert b"git_rev" not in content, name
    published = load_config("net/config.py")
    assert not {"work_dir", "resume_from", "git_rev"} & set(published)
    assert published.model.pretrained == "mit_b0.pth"
    assert published.data.train.source.img_dir == "images"
    record = json.loads(Path("net/repro.json").read_text())
    assert record["command"] == {
        "arguments": ["tools/train.py", "--work-dir=run", "load_from=a b.pth"],
        "folder": "run",
    }
    assert record["files"]["load_from"]["path"] == "a.pth"


def test_a_config_without_paths_is_published_as_it_is(tmp_path: Path) -> None:
    """Its hash is that of the run's record."""
    cfg = Config({**tiny_run.config(Path("data"), model=MODEL), "work_dir": "/a/b", "name": "x"})
    shared = shared_config(cfg.dump())
    assert shared is not None
    assert config_hash(shared) == config_hash(cfg)
    assert shared == {k: v for k, v in cfg.to_dict().items() if k != "work_dir"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = dict(b=[dict(c=(1, 2))], **{})", None),
        ("a = dict(b=[dict(c=(1, 2))])", {"a": {"b": [{"c": (1, 2)}]}}),
        ("import os", None),
        ("a = open('x')", None),
        ("a = (", None),
        (None, None),
        (b"\0", None),
    ],
)
def test_a_config_is_read_and_never_run(text: Any, expected: Any) -> None:
    assert shared_config(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/data/gta", "gta"),
        ("/home/my name/data", "data"),
        ("~/data", "data"),
        ("C:\\Users\\me\\data", "data"),
        ("\\\\server\\share\\me\\data", "data"),
        ("file:///home/me/data", "data"),
        ("uda.matrix_path=/home/me/bank.pth", "uda.matrix_path=bank.pth"),
        ("repository at '/home/me/cdda'", "repository at 'cdda'"),
        ("paths=[/home/a,/home/b]", "paths=[a,b]"),
        ("data/gta/images", "data/gta/images"),
        ("gta/*_images.zip!/images", "gta/*_images.zip!/images"),
        ("https://a.org/b/c", "https://a.org/b/c"),
        ("hf://me/net/a.pth", "hf://me/net/a.pth"),
        ("mIoU / mAcc", "mIoU / mAcc"),
        ("/", "/"),
        (r"\d+/\w", r"\d+/\w"),
        (5, 5),
    ],
)
def test_absolute_paths_are_shortened_and_nothing_else(text: Any, expected: Any) -> None:
    assert without_machine({"a": [(text,)]}) == {"a": [(expected,)]}


def test_paths_below_the_current_folder_start_there() -> None:
    here = Path.cwd()
    assert without_machine([str(here / "data/gta"), f"a={here}/b/c"]) == ["data/gta", "a=b/c"]


def test_the_card_says_what_the_weights_are(run: Path) -> None:
    publish(run, "--license", "cc-by-nc-4.0")
    _, front, text = card().split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "cc-by-nc-4.0"
    for line in (
        "* Network: EncoderDecoder, mit_b0, DAFormerHead",
        "* Method: DACS, depth metric (CDDA), masked images (MIC)",
        "* Trained on: GTA",
        "* Adapted to: Cityscapes, without its labels",
        "* Weights: the student after 7 iterations",
        "On 3 images of `val`, before the weights were stored:",
        "| kind 0 | – |",
        "| kind 1 | 50.0 |",
        "| **mIoU** | 67.89 |",
        "* Its training started from `mit_b0`, license: NVIDIA Source Code License for SegFormer: "
        "non-commercial.",
        "python tools/predict.py IMAGES --checkpoint net.safetensors --out DIR",
    ):
        assert f"{line}\n" in text
    publish(run, "--license", "Mine: 2")
    assert yaml.safe_load(card().split("---\n")[1])["license_name"] == "Mine: 2"


ORIGINS = {
    "dinov3": (
        {"type": "TIMMBackbone", "pretrained": "hf://timm/vit_base_patch16_dinov3.lvd1689m"},
        "DINOv3 License: it also binds what is trained from these weights.",
    ),
    "dinov2": ({"pretrained": "pretrained/dinov2_vitb14_pretrain.pth"}, "license: Apache-2.0."),
    "own": ({"pretrained": "mine.pth"}, "`mine.pth`, whose license is not known here."),
}


@pytest.mark.parametrize("case", ORIGINS)
def test_the_card_names_the_licenses_of_what_a_training_started_from(case: str, run: Path) -> None:
    backbone, words = ORIGINS[case]
    write_run(run, config(run.parent, model={**MODEL, "backbone": backbone}))
    publish(run)
    assert words in card()
    assert "license:" not in card().split("---\n")[1]


def test_a_bare_checkpoint_gets_a_card_that_claims_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({f"model.{k}": v for k, v in weights().items()}, run / "iter_7.pth")
    for name in ("results.json", "repro.json"):
        (run / name).unlink()
    publish(run)
    said = capsys.readouterr().out
    assert "Without config.py:" in said and "Without repro.json:" in said
    assert sorted(path.name for path in Path("net").iterdir()) == ["README.md", "net.safetensors"]
    assert "Nobody has evaluated these weights." in card()
    assert "* Method: unknown\n" in card()
    assert "has stated none" in card()


def test_results_of_another_checkpoint_or_network_are_not_claimed(run: Path) -> None:
    content = torch.load(run / "iter_7.pth")
    torch.save({**content, "iteration": 9}, run / "iter_7.pth")
    publish(run)
    assert "Nobody has evaluated" in card()
    record = json.loads((run / "results.json").read_text())
    record |= {"checkpoint": f"{run}/iter_7.pth", "iteration": None, "aug_test": True}
    (run / "results.json").write_text(json.dumps(record))
    publish(run)
    assert "| **mIoU** | 45.67 |" in card()
    assert "of `val`, aug_test=True, before" in card()
    publish(run, "--eval-model", "teacher")
    assert "Nobody has evaluated" in card()


class Api(SimpleNamespace):
    """What the hub's client is asked to do."""

    said: list[Any] = []
    fails = False

    def create_repo(self, name: str, **how: Any) -> None:
        if self.fails:
            raise ValueError("401 Unauthorized.\nMore")
        self.said.append((name, how))

    def upload_folder(self, **how: Any) -> None:
        self.said.append(how)


def test_a_folder_is_pushed_without_what_else_lies_in_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(Api, "said", [])
    publish(run, "--hub", "me/my_net")
    assert Api.said[0] == ("me/my_net", {"exist_ok": True})
    pushed = Api.said[1]
    assert (pushed["repo_id"], pushed["folder_path"]) == ("me/my_net", Path("net"))
    assert sorted(pushed["allow_patterns"]) == NAMES
    assert "# my_net\n" in card()
    assert "--checkpoint hf://me/my_net --out DIR" in card()
    monkeypatch.setattr(Api, "fails", True)
    with pytest.raises(SystemExit, match=r"push 'net' to 'me/my_net', got: 401 Unau.* Log in with"):
        publish(run, "--hub", "me/my_net")


def test_a_file_that_came_out_different_is_found(run: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch, "equal", lambda *_: False)
    with pytest.raises(SystemExit, match=r"CheckpointError: expected \d+ tensors in 'net/net.saf"):
        publish(run)


WRONG = {
    "license": (["--license", "x"], "net/net.pth", r"ends in \.safetensors with --license"),
    "hub": (["--hub", "me/x"], "net/net.pth", r"ends in \.safetensors with --hub, got 'net/net"),
    "hub name": (["--hub", "x"], "net/net.safetensors", r"--hub: expected OWNER/NAME, got 'x'"),
    "README.md": ([], "net/net.safetensors", r"a place for README.md that is new or made by"),
    "config.py": ([], "net/net.safetensors", r"a place for config.py that is new or made by"),
    "repro.json": ([], "net/net.safetensors", r"a place for repro.json that is new or made by"),
    "run": (
        [],
        "RUN/net.safetensors",
        r"a folder of its own, got .* in which the checkpoint",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_ends_in_a_sentence(
    case: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, out, message = WRONG[case]
    if "." in case:
        Path("net").mkdir()
        Path("net", case).write_text("mine")
    before = {path: path.read_bytes() for path in [*run.iterdir(), *Path("net").glob("*")]}
    with pytest.raises(SystemExit) as end:
        publish(run, *words, out=out.replace("RUN", str(run)))
    assert re.search(message, f"{end.value}{capsys.readouterr().err}")
    assert {path: path.read_bytes() for path in [*run.iterdir(), *Path("net").glob("*")]} == before
