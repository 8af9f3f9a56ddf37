"""Checkpoints of earlier releases, one of each, resume, evaluate, and train on as they did then.

`tests/golden/releases/<version>/` holds the checkpoint of a tiny run of CDDA with MIC and a second
teacher after 2 of 4 iterations, the run's config, and what that release logged from there on. The
run has no dropout: torch draws other numbers on other processors.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import small_runs
import tiny_run

from mmseg.apis import TrainOptions, run_training
from mmseg.apis.test import TestOptions, run_test
from mmseg.config import load_config

RELEASES = sorted((Path(__file__).parents[1] / "golden/releases").iterdir())
BREAK, END = 2, 4
# Of float32, relative: three settings of instruction sets and threads differ by up to 8e-8. Without
# the first moments of the optimizer the loss of iteration 4 differs by 1.5e-3.
TOLERANCE = 1e-4
SHARE = 1e-3  # absolute, of IoU and accuracy (a training's are in per cent)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    small_runs.write_material(root)
    return root


def start(release: Path, material: Path, work_dir: Path, iterations: int) -> Path:
    """Put the checkpoint into a work folder as a run leaves it; return the config beside it."""
    text = (release / "config.json").read_text(encoding="utf-8")
    values = json.loads(text.replace("{root}", str(material)))
    values["runner"]["max_iters"] = iterations
    config = tiny_run.write_config(work_dir / "release.py", values)
    shutil.copy(release / "checkpoint.pth", work_dir / f"iter_{BREAK}.pth")
    return config


def recorded(release: Path) -> dict[tuple[str, int], dict[str, Any]]:
    records = json.loads((release / "continued.json").read_text(encoding="utf-8"))
    return {(record["mode"], record["iter"]): record for record in records}


def assert_close(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare two records: shares of pixels by their difference, the rest relatively."""
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if theirs["mode"] == "val":
            limits = {"abs": SHARE}
        else:
            limits = {"abs": 100 * SHARE} if "acc" in key else {"rel": TOLERANCE}
        if isinstance(value, float):
            assert ours[key] == pytest.approx(value, **limits), key


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_a_resumed_run_goes_on_as_the_release_did(
    release: Path, material: Path, tmp_path: Path
) -> None:
    config = start(release, material, tmp_path, END)
    run_training(load_config(config), TrainOptions(work_dir=str(tmp_path), resume="auto"))
    logged, then = small_runs.logged(tmp_path), recorded(release)
    for entry in (("train", BREAK + 1), ("train", END), ("val", END)):
        assert_close(logged[entry], then[entry])


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_what_is_resumed_is_saved_again_bit_by_bit(
    release: Path, material: Path, tmp_path: Path
) -> None:
    """A run that has nothing left to do writes its checkpoint anew."""
    config = start(release, material, tmp_path, BREAK)
    run_training(load_config(config), TrainOptions(work_dir=str(tmp_path), resume="auto"))
    differing = small_runs.differences(release / "checkpoint.pth", tmp_path / "latest.pth")
    assert [name for name in differing if not name.startswith("/meta/")] == ["/schedule/max_iters"]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_its_evaluation_is_that_of_the_release(
    release: Path, material: Path, tmp_path: Path
) -> None:
    config = start(release, material, tmp_path, END)
    checkpoint = str(tmp_path / f"iter_{BREAK}.pth")
    run_test(TestOptions(str(config), checkpoint, metrics=["mIoU"], work_dir=str(tmp_path)))
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    then = recorded(release)["val", BREAK]
    assert found["mIoU"] == pytest.approx(then["mIoU"], abs=SHARE)
    assert found["aAcc"] == pytest.approx(then["aAcc"], abs=SHARE)
