"""Two processes: an interrupted and resumed run is the uninterrupted one, bit by bit.

Four iterations without interruption are compared with two, a signal that only process 1 gets, and
two more after `--resume auto`.
"""

import json
from pathlib import Path

import paired_runs
import pytest
import small_runs
import tiny_run
import torch
from paired_runs import BREAK, END, PROCESSES, outcomes
from threads import one_thread

from mmseg.apis.test import TestOptions, run_test
from mmseg.engine.checkpoint import read_checkpoint

WORKERS = {**dict.fromkeys(small_runs.METHODS, (0, 2)), "mic_teacher": (0,)}
METHODS = tuple(WORKERS)
CASES = [(method, workers) for method in METHODS for workers in WORKERS[method]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all runs, `<method>/whole` and `<method>/broken<workers>`."""
    root = tmp_path_factory.mktemp("pair")
    small_runs.write_material(root)
    for method in METHODS:
        values = small_runs.config(
            root, method, runner={"max_iters": END}, data={"samples_per_gpu": 1}
        )
        values["model"]["backbone"] = backbone = small_runs.SMALL_BACKBONE
        values["model"]["decode_head"]["in_channels"] = backbone["embed_dims"]
        values["model"]["pretrained"] = str(root / "small.pth")
        tiny_run.write_config(root / f"{method}.py", values)
    paired_runs.run(root, WORKERS)
    return root


@pytest.mark.parametrize(("method", "workers"), CASES)
def test_resumed_run_is_the_uninterrupted_one(root: Path, method: str, workers: int) -> None:
    """Everything in the checkpoint and every logged value."""
    whole, broken = root / method / "whole", root / method / f"broken{workers}"
    assert read_checkpoint(broken / "latest.pth")["iteration"] == END
    assert small_runs.differences(whole / "latest.pth", broken / "latest.pth") == []
    logged = small_runs.logged(whole)
    assert {("train", 3), ("train", END), ("val", END)} <= logged.keys()
    assert small_runs.logged(broken) == logged


def test_the_second_teacher_is_saved_and_differs_from_the_first(root: Path) -> None:
    """Else the comparison of runs with two teachers would say little."""
    state = read_checkpoint(root / "mic_teacher/whole/latest.pth")["state_dict"]
    second = {k: v for k, v in state.items() if k.startswith("mic.teacher.")}
    assert len(second) == sum(key.startswith("ema_model.") for key in state) > 60
    name = "ema_model.decode_head.head.conv_seg.weight"
    assert not torch.equal(state[name], second[f"mic.teacher.{name}"])
    assert small_runs.logged(root / "mic_teacher/whole")["train", END]["masked.decode.loss_seg"] > 0


@pytest.mark.parametrize(("method", "workers"), CASES)
def test_a_signal_to_one_process_stops_both_after_the_same_iteration(
    root: Path, method: str, workers: int
) -> None:
    for rank in range(PROCESSES):
        interruption, _ = outcomes(root, rank, method)[str(workers)]
        assert "SIGUSR1" in interruption
        assert str(BREAK) in interruption


@pytest.mark.parametrize("method", METHODS)
def test_both_processes_hold_the_same_networks(root: Path, method: str) -> None:
    """Student and teacher, after every run."""
    first, second = (outcomes(root, rank, method) for rank in range(PROCESSES))
    digests = {first["whole"], second["whole"]}
    digests |= {part[str(workers)][1] for part in (first, second) for workers in WORKERS[method]}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


@pytest.mark.parametrize("method", METHODS)
def test_logged_result_is_that_of_the_saved_checkpoint_alone(root: Path, method: str) -> None:
    """Batch norm's statistics differ between the processes; the checkpoint holds process 0's."""
    whole = root / method / "whole"
    record = json.loads((whole / "results.json").read_text())
    options = TestOptions(
        str(root / f"{method}.py"), str(whole / "latest.pth"), metrics=["mIoU"],
        work_dir=str(root / method / "tested"),
    )  # fmt: skip
    with one_thread():
        alone = run_test(options)["student"]
    assert alone is not None
    assert record["num_images"] == alone["num_images"] == 3
    assert record["per_class"] == alone["per_class"]
    assert record["mIoU"] == alone["mIoU"]
