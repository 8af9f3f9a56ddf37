"""An interrupted and resumed run is the uninterrupted run, bit by bit, with real networks.

Two iterations, SIGTERM, and two more give the weights of student and teacher, the optimizer and the
logged values of four. The log has a line every three iterations, so that the interruption falls
between two of them.
"""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import small_runs
import tiny_run
from patience import children_are_gone

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import load_config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.models.uda.base import TrainingMethod
from mmseg.system.interruption import RunInterrupted

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tools import train as train_tool  # noqa: E402

CASES = [(method, workers) for method in small_runs.METHODS for workers in (0, 2)]
CASES += [("hrda", 2), ("mic", 0)]  # "mic_teacher" is for two processes
SECTIONS: dict[str, Any] = {
    "runner": {"max_iters": 4},
    "checkpoint_config": {"interval": 10**9},
    "evaluation": {"interval": 4},
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    return root


@pytest.fixture(scope="module")
def whole_runs(material: Path) -> dict[str, Path]:
    """The work folder of an uninterrupted run of every method, without loader workers."""
    folders = {}
    for method in {method for method, _ in CASES}:
        cfg = load_config(config_file(material, method, 0))
        folders[method] = material / f"whole_{method}"
        run_training(cfg, TrainOptions(str(folders[method])))
    return folders


def config_file(material: Path, method: str, workers: int) -> Path:
    data = {"workers_per_gpu": workers}
    values = small_runs.config(material, method, data=data, **SECTIONS)
    return tiny_run.write_config(material / f"{method}_{workers}.py", values)


def signal_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """Send this process a SIGTERM when a training method begins its iteration `iteration`."""
    make_draws = TrainingMethod.make_draws

    def with_signal(self: Any, number: int, *arguments: Any) -> Any:
        if number == iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_draws(self, number, *arguments)

    monkeypatch.setattr(TrainingMethod, "make_draws", with_signal)


@pytest.mark.parametrize(("method", "workers"), CASES)
def test_two_iterations_and_two_resumed_ones_are_four(
    material: Path,
    whole_runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    workers: int,
) -> None:
    """The second part runs the command that the end of the first one names."""
    cfg = load_config(config_file(material, method, workers))
    with monkeypatch.context() as patch, pytest.raises(RunInterrupted) as caught:
        signal_at(patch, 1)
        run_training(cfg, TrainOptions(str(tmp_path)))
    assert children_are_gone(), "no worker of the loader may be left"
    assert [file.name for file in tmp_path.glob("*.pth")] == ["latest.pth"]
    assert read_checkpoint(tmp_path / "latest.pth")["iteration"] == 2
    sentence, _, command = str(caught.value).partition(" Continue with: ")
    assert sentence == (
        f"SIGTERM ended the run after iteration 2 of 4; its state is in '{tmp_path}/latest.pth'."
    )
    python, tool, *arguments = shlex.split(command)
    assert (python, Path(tool).name) == ("python", "train.py")
    train_tool.main(arguments)
    whole = whole_runs[method]
    assert small_runs.differences(whole / "iter_4.pth", tmp_path / "iter_4.pth") == []
    assert small_runs.logged(whole) == small_runs.logged(tmp_path)
    assert set(small_runs.logged(whole)) == {("train", 3), ("train", 4), ("val", 4)}


def test_the_runs_do_what_their_methods_are_made_of(whole_runs: dict[str, Path]) -> None:
    """Otherwise their equality would say little."""
    logs = {name: small_runs.logged(folder) for name, folder in whole_runs.items()}
    assert logs["daformer"]["train", 3]["src.loss_imnet_feat_dist"] > 0
    assert logs["cdda"]["train", 3]["cdda.replaced"] == 1
    assert 0 < logs["cdda"]["train", 3]["cdda.relabeled"] < 1
    assert logs["cdda"]["train", 3]["tgt.loss"] > 0
    states = {n: read_checkpoint(f / "iter_4.pth")["state_dict"] for n, f in whole_runs.items()}
    assert any(key.startswith("ema_model.") for key in states["cdda"])
    for name in ("hrda", "mic"):
        record = logs[name]["train", 3]
        assert record["decode.hr.loss_seg"] > 0
        assert record["cdda.replaced"] == 1
        assert record["tgt.loss"] > 0
    assert logs["hrda"]["train", 3]["src.loss_imnet_feat_dist"] > 0
    assert logs["mic"]["train", 3]["masked.decode.loss_seg"] > 0
    found = small_runs.differences(*(whole_runs[n] / "iter_4.pth" for n in ("daformer", "cdda")))
    assert {"/state_dict/model.decode_head.conv_seg.weight", "/iteration"} & set(found) == {
        "/state_dict/model.decode_head.conv_seg.weight"
    }
