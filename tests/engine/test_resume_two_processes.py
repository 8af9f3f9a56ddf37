"""Two processes: an interrupted and resumed run is the uninterrupted one, bit by bit.

One pair of processes does all runs. Four iterations without interruption are compared with two, a
signal that only process 1 gets, and two more after `--resume auto`.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import small_runs
import tiny_run
import torch
import torch.multiprocessing as mp
from threads import one_thread

from mmseg.apis.test import TestOptions, run_test
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import load_config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.trainer import Trainer
from mmseg.system import processes
from mmseg.system.interruption import RunInterrupted

PROCESSES, BREAK, END = 2, 2, 4
WORKERS = {**dict.fromkeys(small_runs.METHODS, (0, 2)), "mic_teacher": (0,)}
METHODS = tuple(WORKERS)
CASES = [(method, workers) for method in METHODS for workers in WORKERS[method]]


class WatchedTrainer:
    """Sends process 1 a signal in iteration `BREAK`, and notes what the student has become."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_interrupted = False
        self.digest = ""
        step = Trainer.step

        def watched(trainer: Trainer, batch: Any) -> None:
            step(trainer, batch)
            done = trainer.progress.iteration
            if self.is_interrupted and done == BREAK and processes.rank() == 1:
                os.kill(os.getpid(), signal.SIGUSR1)
            if done == END:
                values = [p.detach().numpy() for p in trainer.method.parameters()]
                self.digest = hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest()

        patch.setattr(Trainer, "step", watched)

    def train(self, config: Path, work_dir: Path, workers: int, is_interrupted: bool) -> str:
        """Train, and return a digest of all parameters, or what interrupted the run."""
        cfg = load_config(config)
        cfg.merge_options({"data.workers_per_gpu": workers})
        self.is_interrupted = is_interrupted
        options = TrainOptions(work_dir=str(work_dir), resume="auto")
        try:
            run_training(cfg, options)
        except RunInterrupted as interruption:
            return str(interruption)
        return self.digest


def work(rank: int, port: int, root: Path) -> None:
    torch.set_num_threads(1)
    # A spawned process would spawn its loader workers too, and each would import torch anew.
    multiprocessing.set_start_method("fork", force=True)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    outcomes = {}
    with pytest.MonkeyPatch.context() as patch:
        trainer = WatchedTrainer(patch)
        for method in METHODS:
            config = root / f"{method}.py"
            whole = trainer.train(config, root / method / "whole", 0, False)
            outcomes[method] = {"whole": whole}
            for workers in WORKERS[method]:
                folder = root / method / f"broken{workers}"
                outcomes[method][workers] = [
                    trainer.train(config, folder, workers, is_interrupted)
                    for is_interrupted in (True, False)
                ]
    (root / f"{rank}.json").write_text(json.dumps(outcomes))
    processes.barrier()
    processes.shut_down()


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, root), nprocs=PROCESSES)
    return root


def outcomes(root: Path, rank: int, method: str) -> dict[str, Any]:
    return json.loads((root / f"{rank}.json").read_text())[method]


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
