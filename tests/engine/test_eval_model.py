"""Which network of a checkpoint is tested, and where its results are."""

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
import torch
from golden_init import init_dacs
from PIL import Image
from threads import environment_with_as_many

from mmseg.apis import inference_segmentor, init_segmentor
from mmseg.config import load_config
from mmseg.models import build_train_model
from tools import publish_checkpoint
from tools import test as test_tool

ROOT = Path(__file__).parents[2]
DACS = {"type": "DACS", "alpha": 0.99, "pseudo_threshold": 0.2}
RESULTS, TEACHERS = "results.json", "results_teacher.json"
PICTURE = "town/town_000001_000019_leftImg8bit.png"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a run leaves it: its config, and a checkpoint of two different networks."""
    root = tmp_path_factory.mktemp("run")
    tiny_run.write_pictures(root)
    cfg = load_config(tiny_run.write_config(root / "run/tiny.py", tiny_run.config(root)))
    method: Any = build_train_model({"model": cfg.model, "uda": DACS, "runner": {}})
    init_dacs(method)
    torch.save({"meta": {"iter": 2}, "state_dict": method.state_dict()}, root / "run/latest.pth")
    return root / "run"


def evaluate(run_dir: Path, *options: str, checkpoint: str = "latest.pth") -> None:
    test_tool.main([str(run_dir / "tiny.py"), str(run_dir / checkpoint), *options])


def record(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def pixels(files: Sequence[Path]) -> list[np.ndarray]:
    found = []
    for file in files:
        with Image.open(file) as image:
            found.append(np.asarray(image).copy())
    return found


@pytest.fixture(scope="module")
def results(run_dir: Path) -> dict[str, dict[str, Any]]:
    """The records of student and teacher, each tested alone as a checkpoint of one network."""
    records = {}
    for network in ("student", "teacher"):
        alone = run_dir / f"{network}_alone.pth"
        options = ["--keep-precision", "--eval-model", network]
        publish_checkpoint.main([str(run_dir / "latest.pth"), str(alone), *options])
        folder = run_dir / f"{network}_alone"
        evaluate(run_dir, "--work-dir", str(folder), checkpoint=alone.name)
        records[network] = record(folder / RESULTS)
    assert records["student"]["per_class"] != records["teacher"]["per_class"]
    return records


@pytest.mark.parametrize("option", [None, "student", "teacher"])
def test_the_student_is_tested_unless_the_teacher_is_wanted(
    run_dir: Path, results: dict[str, Any], option: str | None, tmp_path: Path
) -> None:
    options = ["--eval-model", option] if option else []
    evaluate(run_dir, "--work-dir", str(tmp_path), *options)
    network = option or "student"
    written = [p.name for p in tmp_path.glob("*.json")]
    assert written == [TEACHERS if network == "teacher" else RESULTS]
    found = record(tmp_path / written[0])
    assert found["network"] == network
    assert found["per_class"] == results[network]["per_class"]
    (log,) = tmp_path.glob("test_*.log")
    text = log.read_text()
    assert f"Network: {network}\n" in text
    assert re.search(rf"IoU of the {network}: mIoU: {100 * found['mIoU']:.1f}, IoU\.road: ", text)


def test_both_are_tested_and_nothing_overwrites_anything(
    run_dir: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    out, show = tmp_path / "all.pkl", tmp_path / "preds"
    options = ["--show-dir", str(show), "--opacity", "1", "--out", str(out), "--eval", "mIoU"]
    evaluate(run_dir, "--work-dir", str(tmp_path), "--eval-model", "both", *options)
    for network, name, suffix in (("student", RESULTS, ""), ("teacher", TEACHERS, "_teacher")):
        found = record(tmp_path / name)
        assert found["network"] == network
        assert found["per_class"] == results[network]["per_class"]
        model = init_segmentor(
            run_dir / "tiny.py", run_dir / "latest.pth", device="cpu", network=network
        )
        image = run_dir.parent / "target/leftImg8bit/val" / PICTURE
        (expected,) = inference_segmentor(model, image)
        labels = pickle.loads((tmp_path / f"all{suffix}.pkl").read_bytes())
        assert (labels[1] == expected).all()
        (painted,) = pixels([tmp_path / f"preds{suffix}" / PICTURE])
        assert (painted == expected).all()
    (log,) = tmp_path.glob("test_*.log")
    text = log.read_text()
    places = [
        text.index(part)
        for part in (
            "Network: student",
            "|     Class     |",
            "IoU of the student: mIoU",
            f"Results of the student: {tmp_path / RESULTS}",
            "Network: teacher",
            "IoU of the teacher: mIoU",
            f"Results of the teacher: {tmp_path / TEACHERS}",
            f"Painted predictions: {tmp_path / 'preds_teacher'}",
        )
    ]
    assert places == sorted(places)
    assert "|     Class     |" in text[places[4] : places[5]]


def test_files_for_a_server_are_kept_apart_too(run_dir: Path, tmp_path: Path) -> None:
    server = ["--format-only", "--eval-options", f"imgfile_prefix={tmp_path / 'server'}"]
    evaluate(run_dir, "--work-dir", str(tmp_path), "--eval-model", "both", *server)
    students, teachers = (
        sorted((tmp_path / n).glob("*.png")) for n in ("server", "server_teacher")
    )
    assert [p.name for p in students] == [p.name for p in teachers]
    assert len(students) == 3
    pairs = zip(pixels(students), pixels(teachers), strict=True)
    assert all((one != other).any() for one, other in pairs)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("option", ["teacher", "both"])
def test_a_missing_teacher_is_an_error_before_anything_is_tested(
    run_dir: Path, results: dict[str, Any], option: str, tmp_path: Path
) -> None:
    words = r"^CheckpointError: expected a teacher \(keys starting with 'ema_model\.'\) in the "
    words += r"checkpoint '.*student_alone\.pth', got none; test the student, or give"
    arguments = ["--work-dir", str(tmp_path), "--eval-model", option]
    with pytest.raises(SystemExit, match=words):
        evaluate(run_dir, *arguments, checkpoint="student_alone.pth")
    assert not list(tmp_path.glob("*.json"))


def test_test_sh_passes_the_option_on(run_dir: Path, results: dict[str, Any]) -> None:
    command = ["sh", str(ROOT / "test.sh"), str(run_dir), "--eval-model", "both"]
    environment = environment_with_as_many(PYTHON=sys.executable)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for network, name in (("student", RESULTS), ("teacher", TEACHERS)):
        assert record(run_dir / name)["per_class"] == results[network]["per_class"]
    assert (run_dir / "preds" / PICTURE).is_file()
    assert (run_dir / "preds_teacher" / PICTURE).is_file()


def test_other_networks_are_refused(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        evaluate(run_dir, "--eval-model", "ema")
    assert "expected student or teacher or both, got 'ema'" in capsys.readouterr().err
