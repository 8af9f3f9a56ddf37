"""What docs/migrating.md says is tried: its head, its method, its configs, and checkpoints."""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from demo_project import ROOT, copy_folder
from test_pages import PAGES, blocks

from mmseg.config import Config, load_config
from mmseg.config.registry import HEADS, UDA, Registry
from mmseg.engine.checkpoint import load_weights, read_checkpoint
from mmseg.models import build_segmentor, build_train_model
from tools import train as train_tool

PAGE = PAGES["docs/migrating.md"]
(DIFF,) = blocks(PAGE, "diff")
CONFIG, METHOD, METHOD_CONFIG = blocks(PAGE, "python")
SMALL = {
    "model.backbone.type": "mit_b0",
    "model.pretrained": None,
    "model.decode_head.in_channels": [32, 64, 160, 256],
    "uda.imnet_feature_dist_lambda": 0,
}


def head(left_out: str) -> str:
    """Return the head of the page as it was (without `+`) or as it is (without `-`)."""
    return "".join(f"{line[1:]}\n" for line in DIFF.splitlines() if not line.startswith(left_out))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with the configs of the family, those of the page, and its modules."""
    for value in vars(importlib.import_module("mmseg.config.registry")).values():
        if isinstance(value, Registry):  # the parts are gone afterwards
            monkeypatch.setattr(value, "_entries", dict(value._entries))
    copy_folder(ROOT / "configs/_base_", tmp_path / "configs/_base_", "__pycache__")
    written = {
        "configs/mine/sum_head.py": CONFIG,
        "configs/mine/entropy.py": METHOD_CONFIG,
        "my_fork/sum_head.py": head("-"),
        "my_fork/entropy.py": METHOD,
    }
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_fork"]:
        del sys.modules[name]


def small(config: str, data: Path | None = None) -> Any:
    """Return a config of the page with a small network, and small pictures if there are any."""
    cfg = load_config(config)
    cfg.merge_options(SMALL)
    if data is not None:
        tiny = Config(tiny_run.config(data))
        for key in ("data", "runner", "checkpoint_config", "evaluation", "log_config", "seed"):
            cfg[key] = tiny[key]
    return cfg


def test_the_error_names_every_line_that_the_page_changes_by_its_new_name(project: Path) -> None:
    Path("my_fork/sum_head.py").write_text(head("+"))
    with pytest.raises(ImportError) as error:
        load_config("configs/mine/sum_head")
    said = str(error.value)
    (quoted,) = re.findall(r"^> (.*\n(?:> .*\n)+)", PAGE, re.MULTILINE)
    words = " ".join(quoted.replace("> ", "").split()).removesuffix(", …")
    assert words in said.replace(f"{project}{os.sep}", "").replace(os.sep, "/")
    for number, line in enumerate(head("+").splitlines(), 1):
        changed = f"-{line}" in DIFF.splitlines() and re.match(r"from (mmcv|mmseg)", line)
        assert (f"(line {number})" in said) == bool(changed), line


@pytest.mark.parametrize("name", ["sum_head", "entropy"])
def test_configs_of_the_page_are_whole(name: str, project: Path) -> None:
    cfg = small(f"configs/mine/{name}")
    method: Any = build_train_model(cfg)
    assert type(method.model.decode_head) is HEADS.get("SumHead")
    assert type(method) is UDA.get("EntropyDACS" if name == "entropy" else "DACS")
    assert (cfg.optimizer.lr, cfg.lr_config.warmup_iters, cfg.n_gpus) == (6e-5, 1500, 1)


def test_head_and_method_of_the_page_train_and_both_ways_of_checkpoints_work(project: Path) -> None:
    """A run here, a file as the fork would have saved it, and a run that continues from that."""
    tiny_run.write_pictures(project)
    cfg = small("configs/mine/entropy", project)
    cfg.dump("small.py")
    train_tool.main(["small.py", "--work-dir", "here", "--no-validate"])
    log = next(Path("here").glob("*.log.json")).read_text()
    assert '"ent.loss_entropy"' in log
    assert '"decode.sum.loss_small"' in log
    ours = torch.load("here/latest.pth", weights_only=True)  # tensors and plain values alone
    assert {key.partition(".")[0] for key in ours["state_dict"]} == {"model", "ema_model"}
    assert all(tensor.device.type == "cpu" for tensor in ours["state_dict"].values())
    assert ours["meta"]["CLASSES"][0] == "road"
    theirs = {"meta": {"iter": 2, "epoch": 0, "CLASSES": ours["meta"]["CLASSES"]}}
    theirs |= {key: ours[key] for key in ("state_dict", "optimizer")}
    torch.save(theirs, "iter_2.pth")
    more = ["--resume", "iter_2.pth", "--cfg-options", "runner.max_iters=3", "optimizer.lr=0.0"]
    train_tool.main(["small.py", "--work-dir", "there", "--no-validate", *more])
    after = read_checkpoint("there/latest.pth")
    assert after["iteration"] == 3
    name = "decode_head.embed.0.conv.weight"
    assert torch.equal(after["state_dict"][f"model.{name}"], ours["state_dict"][f"model.{name}"])
    network: Any = build_segmentor(cfg.model)
    load_weights(network, "there/latest.pth", "teacher")
