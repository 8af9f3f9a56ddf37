"""`repro.json`: two starts of the same thing look the same, and what differs is seen."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_run
import torch

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.run_config import RunConfig, config_hash, read_run
from mmseg.config.sections import RunnerConfig
from mmseg.datasets.fingerprint import dataset_fingerprint, folder_fingerprint
from mmseg.engine.provenance import code_state, file_hash, files_of_run, write_repro
from mmseg.preprocessing.plan import source_fingerprint

CPU = torch.device("cpu")
CONFIG = {
    "seed": 5,
    "model": {"type": "EncoderDecoder", "crop": (2, 3)},
    "runner": {"max_iters": 2},
}


def write_files(folder: Path, names: list[str], size: int = 3) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    return names


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "repro.json").read_text())


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_hashes_that_folders_of_crops_carry_do_not_change(tmp_path: Path) -> None:
    """The number was computed before the code moved to `mmseg.datasets.fingerprint`.

    Of 4032 = 63 * 64 files the sizes of every 63rd count, for no other number of sizes than 64.
    """
    names = [f"{number:05d}.png" for number in range(4032)]
    for number in range(0, 4032, 63):
        if number != 126:  # one of the files whose size counts is missing
            (tmp_path / names[number]).write_bytes(b"x" * (3 * number + 1))
    source = SimpleNamespace(img_dir=tmp_path, img_infos=[{"filename": name} for name in names])
    train = {"type": "UDADataset", "target": {"a": 1}}
    train["source"] = {"type": "GTADataset", "data_root": "data/gta"}
    assert source_fingerprint(train, SimpleNamespace(source=source)) == "6c61c637081b2f42"


def test_a_fingerprint_sees_names_and_sizes_and_not_their_order_or_place(tmp_path: Path) -> None:
    names = write_files(tmp_path / "a", ["b/2.png", "1.png", "3.png"])
    first = folder_fingerprint(tmp_path / "a", names)
    write_files(tmp_path / "b", names)
    second = folder_fingerprint(tmp_path / "b", names[::-1])
    assert (first["files"], second["files"]) == (3, 3)
    assert first["sha256"] == second["sha256"]
    assert first["folder"] == str(tmp_path / "a")
    (tmp_path / "b/1.png").write_bytes(b"longer")
    assert folder_fingerprint(tmp_path / "b", names)["sha256"] != first["sha256"]
    (tmp_path / "b/1.png").unlink()
    assert folder_fingerprint(tmp_path / "b", names)["sha256"] != first["sha256"]
    assert folder_fingerprint(tmp_path / "a", names[:2])["sha256"] != first["sha256"]


def test_labels_and_depth_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    infos = [{"filename": f"{n}.png", "ann": {"seg_map": f"{n}_label.png"}} for n in range(2)]
    dataset = SimpleNamespace(
        img_infos=infos,
        img_dir=tmp_path / "images",
        ann_dir=tmp_path / "labels",
        dep_dir=tmp_path / "depth",
        depth_name=lambda name: name.replace(".png", "_depth.png"),
    )
    write_files(tmp_path / "images", ["0.png", "1.png"])
    write_files(tmp_path / "labels", ["0_label.png", "1_label.png"])
    write_files(tmp_path / "depth", ["0_depth.png", "1_depth.png"])
    before = dataset_fingerprint(dataset)
    assert {part: entry["files"] for part, entry in before.items()} == {
        "images": 2, "labels": 2, "depth": 2,
    }  # fmt: skip
    for part, name in (("labels", "1_label.png"), ("depth", "0_depth.png"), ("images", "0.png")):
        (tmp_path / part / name).write_bytes(b"changed size")
        after = dataset_fingerprint(dataset)
        changed = [p for p in before if after[p]["sha256"] != before[p]["sha256"]]
        assert changed == [part]
        before = after
    dataset.ann_dir = dataset.dep_dir = None
    assert set(dataset_fingerprint(dataset)) == {"images"}
    assert dataset_fingerprint(object()) == {}


def test_a_config_hash_sees_values_and_neither_order_nor_names_of_runs() -> None:
    other = {"runner": {"max_iters": 2}, "model": {"crop": [2, 3], "type": "EncoderDecoder"}}
    other |= {"seed": 5, "work_dir": "b", "resume_from": "x.pth", "name": "n", "git_rev": "1"}
    same = config_hash(CONFIG)
    assert config_hash(Config(other)) == same
    assert len(same) == 64
    for change in ({"seed": 6}, {"load_from": "y.pth"}, {"model": {"crop": (3, 2)}}):
        assert config_hash({**CONFIG, **change}) != same
    assert config_hash({"a": {1: 2, "b": None}}) == config_hash({"a": {"b": None, 1: 2}})


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_state_of_the_code_is_clean_changed_or_no_checkout(tmp_path: Path) -> None:
    nothing = {"revision": None, "tree": "not a checkout"}
    program = write_files(tmp_path, ["mmseg/__init__.py"])[0]
    assert code_state(tmp_path) == nothing
    git(tmp_path, "init", "-q")
    assert code_state(tmp_path) == nothing, "a checkout that does not know the program"
    git(tmp_path, "add", program)
    git(tmp_path, "commit", "-q", "-m", "x")
    revision = git(tmp_path, "rev-parse", "HEAD")
    assert code_state(tmp_path) == {"revision": revision, "tree": "clean"}
    write_files(tmp_path, ["untracked.py"])
    assert code_state(tmp_path)["tree"] == "clean"
    (tmp_path / program).write_bytes(b"# changed")
    assert code_state(tmp_path) == {"revision": revision, "tree": "uncommitted changes"}
    (tmp_path / "site").mkdir()
    write_files(tmp_path / "site", [program])
    assert code_state(tmp_path / "site") == nothing, "an installed copy inside of a checkout"


def test_without_git_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_state(tmp_path) == {"revision": None, "tree": "no git"}


@pytest.mark.parametrize(
    ("script", "tree"),
    [
        ("echo 'fatal: detected dubious ownership in x' >&2; exit 128", "unknown: fatal: detected"),
        ("exec sleep 9", "unknown: git did not answer"),
    ],
)
def test_what_git_does_not_tell_is_unknown(
    script: str, tree: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt":
        pytest.skip("needs programs as Unix has them")
    (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("mmseg.engine.provenance.GIT_SECONDS", 0.2)
    state = code_state(tmp_path)
    assert state["revision"] is None
    assert str(state["tree"]).startswith(tree)


def test_files_are_hashed_and_missing_ones_said(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one chunk
    (tmp_path / "weights.pth").write_bytes(content)
    entry = file_hash(tmp_path / "weights.pth")
    assert entry["sha256"] == sha(content)
    assert entry["bytes"] == len(content) > 2**20
    for missing in (tmp_path / "none.pth", tmp_path):
        assert file_hash(missing) == {"path": str(missing), "missing": True}


def test_every_file_that_decides_the_weights_is_named(tmp_path: Path) -> None:
    sections = {
        "model": {"pretrained": "a.pth", "backbone": {"type": "x", "pretrained": "b.pth"}},
        "load_from": "c.pth",
        "resume_from": None,
        "uda": {"matrix_path": "bank.pth", "croped_images_path": "crops/images"},
    }
    run = RunConfig(runner=RunnerConfig(2), **sections)
    source = SimpleNamespace(data_root="data/gta")
    dataset = SimpleNamespace(source=source, target=None, rare_class_sampling=object())
    named = {name: path.as_posix() for name, path in files_of_run(run, dataset)}
    assert named == {
        "model.pretrained": "a.pth",
        "model.backbone.pretrained": "b.pth",
        "load_from": "c.pth",
        "uda.matrix_path": "bank.pth",
        "uda.croped_images_path": "crops/preprocessing.json",
        "data.train.source: sample_class_stats.json": "data/gta/sample_class_stats.json",
        "data.train.source: samples_with_class.json": "data/gta/samples_with_class.json",
    }
    assert (
        list(files_of_run(RunConfig(runner=RunnerConfig(2), model={"pretrained": None}), object()))
        == []
    )


def test_earlier_starts_are_kept_newest_first(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_repro(tmp_path, read_run({**CONFIG, "seed": seed}), object(), CPU)
    record = read(tmp_path)
    assert record["seed"] == 3
    assert [earlier["seed"] for earlier in record["earlier_starts"]] == [2, 1]
    assert all("earlier_starts" not in earlier for earlier in record["earlier_starts"])
    assert [p.name for p in tmp_path.iterdir()] == ["repro.json"], "no temporary file is left"


@pytest.mark.parametrize("content", ["{", "[1]", '{"earlier_starts": 3}'])
def test_an_unreadable_earlier_record_does_not_stop_a_run(
    tmp_path: Path, content: str, caplog: Any
) -> None:
    (tmp_path / "repro.json").write_text(content)
    write_repro(tmp_path, read_run(CONFIG), object(), CPU)
    assert read(tmp_path)["earlier_starts"] == []
    assert "repro.json is no record of an earlier start" in caplog.text


def test_a_training_leaves_its_record_and_a_resumed_one_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_run.write_pictures(tmp_path)
    changes = {"uda": {"type": "DACS", "source_only": True}, "runner": {"max_iters": 1}}
    values = tiny_run.config(tmp_path, **changes)
    work_dir = tmp_path / "run"
    options = {"work_dir": str(work_dir), "validate": False}
    monkeypatch.setattr(sys, "argv", ["tools/train.py", "tiny", "--seed", "8"])
    run_training(Config(values), TrainOptions(**options, seed=8))
    first = read(work_dir)
    monkeypatch.setattr(sys, "argv", ["tools/train.py", "tiny", "--resume", "auto"])
    values["runner"] = {"type": "IterBasedRunner", "max_iters": 2}
    run_training(Config(values), TrainOptions(**options, seed=8, resume="auto"))
    record = read(work_dir)
    assert record["earlier_starts"] == [{k: v for k, v in first.items() if k != "earlier_starts"}]
    assert first["earlier_starts"] == []
    assert first["command"]["arguments"] == ["tools/train.py", "tiny", "--seed", "8"]
    assert record["command"]["arguments"][-1] == "auto"
    assert (first["seed"], first["deterministic"], first["processes"]) == (8, False, 1)
    assert first["files"] == {}
    assert record["files"]["resume_from"]["path"] == str(work_dir / "latest.pth")
    first_end = (work_dir / "iter_1.pth").read_bytes()
    assert record["files"]["resume_from"]["sha256"] == sha(first_end)
    assert first["config"]["sha256"] != record["config"]["sha256"], "max_iters has changed"
    assert "work_dir, resume_from" in first["config"]["note"]
    data = first["data"]
    assert {d: {p: e["files"] for p, e in data[d].items()} for d in data} == {
        "source": {"images": 3, "labels": 3}, "target": {"images": 2, "labels": 2},
    }  # fmt: skip
    assert record["data"] == data
    assert first["devices"][0].startswith(("CPU", "NVIDIA"))
    assert first["versions"]["torch"] == torch.__version__
    assert first["versions"]["numpy"] == np.__version__
    assert set(first["versions"]) == {
        "cdda-seg", "python", "torch", "numpy", "opencv", "cuda", "cudnn", "os",
    }  # fmt: skip
    assert set(first["code"]) == {"revision", "tree"}
