"""Checkpoints as the family's programs publish them: nothing missing, nothing unexpected."""

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
import torch
from crafted_files import LEGACY, OldNumpy
from golden_init import init_dacs

from mmseg.apis import init_segmentor
from mmseg.config import Config, load_config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.models import build_train_model
from tools import publish_checkpoint
from tools import train as train_tool

CLASSES = tuple(f"class {n}" for n in range(19))
PALETTE = [[n, 2 * n, 255 - n] for n in range(19)]
DACS = {"type": "DACS", "alpha": 0.99, "pseudo_threshold": 0.2}
SIBLINGS = ("ema_model.", "imnet_model.", "mic.ema_model.", "model_D.0.")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("family")
    tiny_run.write_pictures(root)
    return tiny_run.write_config(root / "configs/tiny.py", tiny_run.config(root))


@pytest.fixture(scope="module")
def method(config: Path) -> Any:
    cfg = load_config(config)
    return init_dacs(build_train_model({"model": cfg.model, "uda": DACS, "runner": {}}))


def meta() -> dict[str, Any]:
    """Plain values, and numpy's floats where the program compared scores."""
    return {
        "iter": 40000,
        "epoch": 7,
        "seed": 0,
        "env_info": "sys.platform: linux\nPyTorch: 1.7.1+cu110",
        "exp_name": "211108_1622_gta2cs_daformer_s0_7f24c.json",
        "versions": {"mmsegmentation": "0.16.0", "torch": torch.__version__},
        "config": "model = dict(type='EncoderDecoder')\n",
        "time": "Tue Nov  9 05:11:56 2021",
        "CLASSES": CLASSES,
        "PALETTE": PALETTE,
        "hook_msgs": {
            "best_score": np.float64(0.6831),
            "best_ckpt": "work_dirs/best_mIoU_iter_40000.pth",
            "last_ckpt": "work_dirs/iter_40000.pth",
        },
    }


def published(
    method: Any, prefix: str, outer: str = "", siblings: tuple[str, ...] = SIBLINGS
) -> dict[str, Any]:
    """Return what a checkpoint of the family holds."""
    student = method.model.state_dict()
    state = collections.OrderedDict((f"{outer}{prefix}{k}", v) for k, v in student.items())
    for number, sibling in enumerate(siblings):
        for key in [*list(student)[:40], "decode_head.extra", "conv.9.bias"]:
            state[outer + sibling + key] = torch.full((number + 2,), float(number))
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    layer = torch.nn.Linear(3, 4)  # its state: step, averages, groups
    optimizer = torch.optim.AdamW(layer.parameters(), lr=6e-5)
    layer(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return {"meta": meta(), "state_dict": state, "optimizer": optimizer.state_dict()}


FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bare": ("", "", {}),
    "method": ("model.", "", {}),
    "parallel": ("", "module.", {}),
    "parallel method": ("model.", "module.", {}),
    "numpy 1": ("model.", "", {"pickle_module": OldNumpy}),
    "torch before 1.6": ("model.", "", LEGACY),
    "both old": ("model.", "module.", {"pickle_module": OldNumpy, **LEGACY}),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("has_meta", [True, False])
def test_the_student_is_loaded_exactly(
    config: Path, method: Any, kind: str, has_meta: bool, tmp_path: Path
) -> None:
    prefix, outer, options = FILES[kind]
    content = published(method, prefix, outer)
    student = method.model.state_dict()
    if not has_meta:
        del content["meta"]
    torch.save(content, tmp_path / "published.pth", **options)
    model = init_segmentor(str(config), tmp_path / "published.pth", device="cpu")
    loaded = model.state_dict()
    assert loaded.keys() == student.keys()
    assert all(torch.equal(loaded[key], value) for key, value in student.items())
    assert not model.training
    if has_meta:
        assert (model.CLASSES, model.PALETTE) == (CLASSES, PALETTE)
        score = read_checkpoint(tmp_path / "published.pth")["meta"]["hook_msgs"]["best_score"]
        assert type(score) is np.float64
        assert score == 0.6831
    else:
        assert model.CLASSES[0] == "road"


@pytest.mark.parametrize("kind", ["parallel method", "both old"])
def test_a_run_starts_from_it(config: Path, method: Any, kind: str, tmp_path: Path) -> None:
    """With learning rate 0 student and teacher keep the parameters of the file's student."""
    prefix, outer, options = FILES[kind]
    student = method.model.state_dict()
    torch.save(published(method, prefix, outer), tmp_path / "published.pth", **options)
    changes = ["runner.max_iters=1", "optimizer.lr=0.0", "data.samples_per_gpu=1"]
    changes.append(f"load_from={tmp_path / 'published.pth'}")
    arguments = [str(config), "--no-validate", "--work-dir", str(tmp_path / "run")]
    train_tool.main([*arguments, "--cfg-options", *changes])
    state = read_checkpoint(tmp_path / "run/iter_1.pth")["state_dict"]
    parameters = dict(method.model.named_parameters())
    assert len(parameters) > 100
    for name in parameters:
        assert torch.equal(state[f"model.{name}"], student[name]), name
        assert torch.equal(state[f"ema_model.{name}"], student[name]), name


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_it_can_be_published_again(
    config: Path, method: Any, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In half precision, without prefixes, and with the same classes."""
    content = published(method, "model.", "module.", siblings=("imnet_model.", "mic."))
    twin = method.model if network == "student" else method.ema_model
    for key, value in method.ema_model.state_dict().items():
        content["state_dict"][f"module.ema_model.{key}"] = value
    torch.save(content, tmp_path / "a.pth", **LEGACY)
    chosen = [] if network == "student" else ["--eval-model", "teacher"]
    publish_checkpoint.main([str(tmp_path / "a.pth"), str(tmp_path / "new/b.pth"), *chosen])
    assert f"{len(twin.state_dict())} tensors, " in capsys.readouterr().out
    assert (tmp_path / "new/b.pth").stat().st_size < (tmp_path / "a.pth").stat().st_size / 2
    small = read_checkpoint(tmp_path / "new/b.pth")
    assert small["meta"] == {"CLASSES": CLASSES, "PALETTE": PALETTE}
    model = init_segmentor(Config(load_config(config)), tmp_path / "new/b.pth", device="cpu")
    for key, value in twin.state_dict().items():
        half = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(model.state_dict()[key], half), key


def test_a_file_without_the_network_is_not_published(method: Any, tmp_path: Path) -> None:
    torch.save(method.model.state_dict(), tmp_path / "a.pth")
    arguments = [str(tmp_path / "a.pth"), str(tmp_path / "b.pth"), "--eval-model", "teacher"]
    with pytest.raises(SystemExit, match=r"^CheckpointError: expected a teacher .* got none; "):
        publish_checkpoint.main(arguments)
    assert not (tmp_path / "b.pth").exists()
