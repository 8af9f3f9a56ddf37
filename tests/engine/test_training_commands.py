"""The commands that train and test, on a dataset of eight small pictures."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
import torch
from PIL import Image
from threads import environment_with_as_many

from mmseg.apis import inference_segmentor, init_segmentor
from mmseg.apis.run_names import child_of_experiment, child_of_file
from mmseg.config import load_config
from mmseg.engine.checkpoint import CheckpointError, read_checkpoint

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
import run_experiments  # noqa: E402
from tools import print_config  # noqa: E402
from tools import test as test_tool  # noqa: E402
from tools import train as train_tool  # noqa: E402


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a config in `configs/tiny/`."""
    root = tmp_path_factory.mktemp("project")
    tiny_run.write_pictures(root)
    tiny_run.write_config(root / "configs/tiny/daformer.py", tiny_run.config(root))
    synthia = tiny_run.config(root, "SynthiaDataset", name="syn", exp="syn")
    tiny_run.write_config(root / "configs/tiny/synthia.py", synthia)
    return root


@pytest.fixture(scope="module")
def run_dir(project: Path) -> Path:
    """The work folder of `run_experiments.py --config configs/tiny/synthia`."""
    before = Path.cwd()
    os.chdir(project)
    try:
        run_experiments.main(["--config", "configs/tiny/synthia", "--seed", "9"])
    finally:
        os.chdir(before)
    (folder,) = (project / "work_dirs/local-syn").iterdir()
    return folder


def test_a_run_is_named_and_leaves_its_files(project: Path, run_dir: Path) -> None:
    assert re.fullmatch(r"\d{6}_\d{4}_syn_[0-9a-f]{5}", run_dir.name)
    child = load_config(project / f"configs/generated/local-syn/{run_dir.name}")
    assert (child.name, child.seed) == (run_dir.name, 9)
    assert child.work_dir == f"work_dirs/local-syn/{run_dir.name}"
    assert "git_rev" in child
    resolved = load_config(run_dir / f"{run_dir.name}.py")
    assert resolved.uda == child.uda
    names = {p.name for p in run_dir.iterdir()}
    assert {"iter_2.pth", "latest.pth", "best_mIoU_iter_2.pth", "results.json", "debug"} <= names
    assert sum(name.endswith(".log") for name in names) == 1
    assert sum(name.endswith(".log.json") for name in names) == 1
    assert (run_dir / "debug/000001_0.png").is_file()


def test_the_log_begins_with_versions_and_method_and_ends_with_results(run_dir: Path) -> None:
    (log,) = run_dir.glob("*.log")
    lines = [line.split(" - ", 2)[-1] for line in log.read_text().splitlines()]
    assert re.match(r"cdda-seg .*, Python .*, torch ", lines[0])
    assert any(line.startswith("Method: DACS self-training") for line in lines[:4])
    assert any(line.startswith("Iter [1/2]  lr: 1.000e-03, eta: ") for line in lines)
    values = r"mIoU \d+\.\d+, mIoU19 \d+\.\d+, mIoU16 \d+\.\d+, mIoU13 \d+\.\d+"
    split = r"\(on \S+/target/leftImg8bit/val, 3 images\)"
    for line, title in ((lines[-2], "last"), (lines[-1], "best")):
        assert re.fullmatch(rf"Result of the {title} iteration \(2\): {values} {split}", line)
    assert any(re.fullmatch(r"Results on \S+/leftImg8bit/val, 3 images:", line) for line in lines)


def test_results_name_split_and_subsets(run_dir: Path) -> None:
    results = json.loads((run_dir / "results.json").read_text())
    assert results["num_images"] == 3
    assert results["split"].endswith("leftImg8bit/val")
    assert results["checkpoint"] == "iter_2.pth"
    assert set(results["per_class"]["traffic light"]) == {"IoU", "Acc"}
    iou = [entry["IoU"] for entry in results["per_class"].values()]
    known = [v for c, v in enumerate(iou) if c not in (9, 14, 16) and v is not None]
    assert results["mIoU16"] == pytest.approx(np.mean(known), abs=1e-4)
    assert results["mIoU"] == results["mIoU19"]


def test_checkpoint_is_readable_by_other_programs(run_dir: Path) -> None:
    content = torch.load(run_dir / "latest.pth", weights_only=True)
    assert content["meta"]["CLASSES"][13] == "car"
    prefixes = {key.split(".")[0] for key in content["state_dict"]}
    assert prefixes == {"model", "ema_model"}
    assert "IterBasedRunner" in content["meta"]["config"]


@pytest.mark.parametrize("best", [True, False])
def test_test_sh_takes_the_best_checkpoint_else_the_latest(run_dir: Path, best: bool) -> None:
    copy = run_dir.parent / f"copy_{best}"
    copy.mkdir()
    for name in ("latest.pth", *(["best_mIoU_iter_2.pth"] if best else [])):
        (copy / name).write_bytes((run_dir / name).read_bytes())
    config = load_config(run_dir / f"{run_dir.name}.py")
    config.dump(copy / f"{run_dir.name}{'.py' if best else '.json'}")  # as published runs have it
    done = test_sh(str(copy))
    assert done.returncode == 0, done.stderr
    name = "best_mIoU_iter_2.pth" if best else "latest.pth"
    assert f"Checkpoint:  {copy}/{name}" in done.stdout
    for text in ("|     Class     |", "traffic light", "mIoU16", "leftImg8bit/val, 3 images"):
        assert text in done.stdout
    with Image.open(copy / "preds/town/town_000000_000019_leftImg8bit.png") as picture:
        assert picture.mode == "P"
        assert picture.size == (tiny_run.WIDTH, tiny_run.HEIGHT)
        assert picture.getpalette()[:3] == [128, 64, 128]
        assert np.asarray(picture).max() < 19
    tested = json.loads((copy / "results.json").read_text())
    trained = json.loads((run_dir / "results.json").read_text())
    assert tested["per_class"] == trained["per_class"]


def test_sh(*arguments: str) -> Any:
    environment = environment_with_as_many(PYTHON=sys.executable)
    command = ["sh", str(ROOT / "test.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


test_sh.__test__ = False  # type: ignore[attr-defined]


def test_test_sh_says_what_is_missing(tmp_path: Path) -> None:
    assert "expected the folder of a run" in test_sh().stderr
    assert f"no such folder: {tmp_path}/none" in test_sh(f"{tmp_path}/none").stderr
    assert "no config (*.py)" in test_sh(str(tmp_path)).stderr
    (tmp_path / "a.py").touch()
    assert "no best*.pth or latest.pth" in test_sh(str(tmp_path)).stderr
    (tmp_path / "b.py").touch()
    assert "several configs" in test_sh(str(tmp_path)).stderr


def test_a_resumed_command_continues_where_it_stopped(project: Path, tmp_path: Path) -> None:
    """2 + 1 iterations end with the same student as 3."""
    config = str(project / "configs/tiny/daformer")
    length = ["--cfg-options", "runner.max_iters=3", "checkpoint_config.interval=2"]
    common = [config, "--no-validate", *length]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_tool.main([*common, "--work-dir", str(whole)])
    parts.mkdir()
    (parts / "latest.pth").write_bytes((whole / "iter_2.pth").read_bytes())
    train_tool.main([*common, "--work-dir", str(parts), "--resume", "auto"])
    ours, theirs = (read_checkpoint(d / "iter_3.pth")["state_dict"] for d in (parts, whole))
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    assert not (parts / "iter_2.pth").exists()


def test_load_from_starts_a_new_run_with_the_student(
    project: Path, run_dir: Path, tmp_path: Path
) -> None:
    """With learning rate 0 the student (and its teacher) keep the loaded parameters."""
    source = run_dir / "latest.pth"
    options = [f"load_from={source}", "optimizer.lr=0.0", "runner.max_iters=1"]
    config = str(project / "configs/tiny/daformer")
    train_tool.main(
        [config, "--no-validate", "--work-dir", str(tmp_path), "--cfg-options", *options]
    )
    before, after = (read_checkpoint(f)["state_dict"] for f in (source, tmp_path / "iter_1.pth"))
    for name in ("decode_head.conv_seg.weight", "backbone.block1.0.attn.q.weight"):
        assert torch.equal(after[f"model.{name}"], before[f"model.{name}"])
        assert torch.equal(after[f"ema_model.{name}"], before[f"model.{name}"])


def test_predictions_can_be_kept_formatted_and_blended(
    project: Path, run_dir: Path, tmp_path: Path
) -> None:
    config, checkpoint = str(run_dir / f"{run_dir.name}.py"), str(run_dir / "latest.pth")
    out, folder = str(tmp_path / "all.pkl"), str(tmp_path / "server")
    options = ["--out", out, "--show-dir", str(tmp_path / "blended"), "--aug-test", "--format-only"]
    server = ["--eval-options", f"imgfile_prefix={folder}"]
    test_tool.main([config, checkpoint, *options, *server, "--work-dir", str(tmp_path)])
    labels = pickle.loads(Path(out).read_bytes())
    assert [label.shape for label in labels] == [(tiny_run.HEIGHT, tiny_run.WIDTH)] * 3
    assert len(list(Path(folder).glob("*_leftImg8bit.png"))) == 3
    picture = tmp_path / "blended/town/town_000002_000019_leftImg8bit.png"
    with Image.open(picture) as image:
        assert image.mode == "RGB"
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format-only"], "Add --eval-options imgfile_prefix=FOLDER"),
        (["--eval", "mIuO"], "unknown metric 'mIuO'; did you mean 'mIoU'"),
        (["--out", "x.txt"], "expected --out with the suffix .pkl"),
    ],
)
def test_test_options_are_checked_first(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        test_tool.main(["none", "none", *arguments])


def test_missing_config_and_checkpoint_end_with_one_sentence(project: Path) -> None:
    config = str(project / "configs/tiny/daformer")
    with pytest.raises(SystemExit, match=r"No config file at .*The most similar are: .*daformer"):
        train_tool.main([config.replace("daformer", "dafromer")])
    with pytest.raises(SystemExit, match="No checkpoint at .*Train a run first"):
        test_tool.main([config, str(project / "latest.pth")])


def test_misspelt_optimizer_key_ends_the_command(project: Path, tmp_path: Path) -> None:
    config = str(project / "configs/tiny/daformer.py")
    arguments = [config, "--work-dir", str(tmp_path), "--cfg-options", "optimizer.wieght_decay=0.1"]
    with pytest.raises(SystemExit, match="'wieght_decay' .*; did you mean 'weight_decay'"):
        train_tool.main(arguments)


def test_network_of_another_config_is_refused(project: Path, run_dir: Path) -> None:
    cfg = load_config(project / "configs/tiny/daformer")
    cfg.model.decode_head["channels"] = 24
    with pytest.raises(CheckpointError, match=r"of another shape: .*instead of \(24,"):
        init_segmentor(cfg, run_dir / "latest.pth", device="cpu")


def test_files_and_pixels_are_labeled_alike(project: Path, run_dir: Path) -> None:
    model = init_segmentor(run_dir / run_dir.name, run_dir / "latest.pth", device="cpu")
    assert model.CLASSES[0] == "road"
    file = project / "target/leftImg8bit/val/town/town_000001_000019_leftImg8bit.png"
    bgr = np.asarray(Image.open(file).convert("RGB"))[..., ::-1].copy()
    first, second = inference_segmentor(model, [file, bgr])
    assert (first == second).all()
    assert first.shape == (tiny_run.HEIGHT, tiny_run.WIDTH)


def test_a_child_config_resolves_to_the_config_with_the_options(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    options = {
        "data.train.source.pipeline.2.img_scale": (80, 60),
        "uda.alpha": 0.5,
        "optimizer.paramwise_cfg": {"norm_decay_mult": 0.0},
    }
    child = load_config(child_of_file("configs/tiny/daformer", options, is_startup_test=True))
    expected = load_config("configs/tiny/daformer")
    expected.merge_options({**options, "runner.max_iters": 2, "log_config.interval": 1})
    for key in expected:
        assert child[key] == expected[key] or key == "name"
    assert child.work_dir.startswith("work_dirs/local-basic-startup/")


def test_a_child_of_an_experiment_keeps_its_own_values(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    own = {"_base_": ["tiny/daformer.py"], "name": "x", "uda": {"alpha": 0.7}, "n_gpus": 1}
    file = child_of_experiment(own, 80, {"uda.blur": False})
    assert file.parent == Path("configs/generated/local-exp80")
    child = load_config(file)
    assert (child.uda.alpha, child.uda.blur, child.uda.type) == (0.7, False, "DACS")


def test_print_config_shows_inherited_values(project: Path, capsys: Any) -> None:
    print_config.main([str(project / "configs/tiny/daformer"), "--cfg-options", "seed=77"])
    printed = capsys.readouterr().out
    assert "seed = 77" in printed
    assert "UDADataset" in printed
