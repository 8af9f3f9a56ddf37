"""An evaluation that stops when told to, classes that collapse, runs that repeat their bits."""

import json
import logging
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import tiny_run
import torch
import torch.multiprocessing as mp
from line_method import Gradient, Line, Threshold, batches, make_trainer
from patience import children_are_gone
from threads import environment_with_as_many

from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.engine.evaluator import Evaluator
from mmseg.engine.seed import (
    CUBLAS_WORKSPACE,
    determinism_lines,
    nondeterminism_in_log,
    set_random_seed,
)
from mmseg.engine.trackers import JsonTracker
from mmseg.system import processes

ROOT = Path(__file__).parents[2]


def stop_after(images: int, seen: list[int]) -> Callable[[], bool]:
    return lambda: len(seen) >= images


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("images", [0, 1, 2])
def test_a_stopped_evaluation_predicts_no_further_and_has_no_result(
    workers: int, images: int, caplog: Any
) -> None:
    network, seen = Threshold(0.2).train(), []
    evaluator = Evaluator(Gradient(5), workers=workers)
    with caplog.at_level("INFO", "mmseg"):
        result = evaluator(network, lambda i, _: seen.append(i), stop_after(images, seen))
    assert result is None
    assert seen == list(range(images))
    assert caplog.text == ""
    assert network.training, "the network must be back in the mode it was in"
    assert children_are_gone(), "no worker of the loader may be left"


def test_an_evaluation_that_nobody_stops_is_the_usual_one() -> None:
    evaluator, asked = Evaluator(Gradient(3)), []
    usual = evaluator(Threshold(0.2), iteration=7)
    asked_for = evaluator(Threshold(0.2), None, lambda: bool(asked.append(1)), iteration=7)
    assert asked_for is not None
    assert asked_for.record == usual.record
    assert len(asked) == 4, "before the first image and after each of the three"
    assert "below_1_percent" not in usual.record, "only training says what collapsed"


def evaluate_as(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    processes.init_from_environment()
    evaluator, results = Evaluator(Gradient(5)), []
    for stopping_rank in (0, 1, None):
        seen: list[int] = []
        stop = stop_after(1 if rank == stopping_rank else 99, seen)
        result = evaluator(Threshold(0.2), lambda i, _, seen=seen: seen.append(i), stop)
        results.append({"record": result and result.record, "seen": seen})
    torch.save(results, Path(folder) / f"{rank}.pth")
    processes.barrier()
    processes.shut_down()


def test_processes_agree_that_one_of_them_has_stopped(tmp_path: Path) -> None:
    """Process 0 has the images 0, 2 and 4, process 1 the others; first 0 stops, then 1, then none.

    The counts of the stopped evaluations must not get into the third one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(evaluate_as, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    assert [r["seen"] for r in first] == [[0], [0, 2, 4], [0, 2, 4]]
    assert [r["seen"] for r in second] == [[1, 3], [1], [1, 3]]
    whole = Evaluator(Gradient(5))(Threshold(0.2)).record
    for results in (first, second):
        assert [r["record"] for r in results] == [None, None, whole]


def warned(records: list[logging.LogRecord]) -> list[str]:
    return [r.getMessage() for r in records if "below 1 %" in r.getMessage()]


def test_a_collapsed_class_is_called_out_at_every_evaluation_and_after_a_resume(
    tmp_path: Path, caplog: Any
) -> None:
    """The weight falls from 1.65 to -0.4: first all pixels are called low, at the end all high."""
    settings = {"max_iters": 40, "evaluation_interval": 4, "checkpoint_interval": 20}
    whole = make_trainer(tmp_path / "a", Line(weight=1.65), **settings)
    whole.trackers.append(JsonTracker(tmp_path / "a.json"))
    whole.run(batches(0, 40))
    lines = warned(caplog.records)
    above = "IoU below 1 % although the data has labels: "
    assert lines[0] == f"{above}high 0.00 % (never above 1 % so far)"
    records = [json.loads(line) for line in (tmp_path / "a.json").read_text().splitlines()]
    below = {r["iter"]: r["below_1_percent"] for r in records if r["mode"] == "val"}
    assert list(below) == list(range(4, 41, 4))
    assert (below[4], below[40]) == (["high"], ["low"])
    assert [] in below.values()
    assert sum(map(len, below.values())) == len(lines)
    lows = {r["iter"]: r["IoU.low"] for r in records if r["mode"] == "val"}
    best = max(lows, key=lambda iteration: lows[iteration])
    assert lines[-1] == f"{above}low 0.00 % (fell from 100.0 % at iteration {best})"
    assert json.loads((tmp_path / "a/results.json").read_text())["below_1_percent"] == ["low"]

    caplog.clear()
    resumed = make_trainer(tmp_path / "b", Line(), **settings)
    resumed.resume(tmp_path / "a/iter_20.pth")
    resumed.run(batches(20, 40))
    assert best <= 20, "the best must be from before the interruption"
    after = warned(caplog.records)
    assert after == lines[-len(after) :]
    assert resumed.progress == whole.progress


@pytest.fixture
def torch_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What --deterministic switches on for the whole process is switched off afterwards."""
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    cudnn, sdp = torch.backends.cudnn, torch.backends.cuda
    before = cudnn.deterministic, cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    cudnn.deterministic, cudnn.benchmark = before
    for switch in (sdp.enable_flash_sdp, sdp.enable_mem_efficient_sdp, sdp.enable_cudnn_sdp):
        switch(True)
    os.environ.pop(CUBLAS_WORKSPACE, None)


def test_deterministic_switches_every_source_of_other_bits_off(torch_state: None) -> None:
    torch.backends.cudnn.benchmark = True
    set_random_seed(3)
    assert not torch.are_deterministic_algorithms_enabled()
    assert CUBLAS_WORKSPACE not in os.environ
    set_random_seed(3, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cuda.flash_sdp_enabled()
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.cuda.math_sdp_enabled()
    os.environ[CUBLAS_WORKSPACE] = ":16:8"
    set_random_seed(3, deterministic=True)
    assert os.environ[CUBLAS_WORKSPACE] == ":16:8", "a user's own choice stays"


def test_the_log_says_what_determinism_does_not_cover() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 0)
    assert determinism_lines(cpu, deterministic=False) == []
    (line,) = determinism_lines(cpu, deterministic=True)
    assert "Not covered: another device" in line
    assert len(determinism_lines(cuda, deterministic=True)) == 2
    assert "CUDA operators without a det" in determinism_lines(cuda, deterministic=True)[1]


def test_an_operator_that_may_give_other_bits_is_named_in_the_log_once(
    torch_state: None, caplog: Any, recwarn: pytest.WarningsRecorder
) -> None:
    """`put_` has no deterministic implementation, on the CPU as well."""
    set_random_seed(3, deterministic=True)
    warnings.simplefilter("always")
    show = warnings.showwarning
    with nondeterminism_in_log():
        for _ in range(2):
            torch.zeros(4).put_(torch.tensor([1, 2]), torch.ones(2))
        warnings.warn("something else", stacklevel=1)
    assert warnings.showwarning is show
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 1, lines
    assert lines[0].startswith("Not deterministic: put_ does not have a deterministic impl")
    assert [str(w.message) for w in recwarn] == ["something else"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)
    return root


def test_deterministic_repeats_a_run_bit_for_bit_and_another_seed_does_not(
    material: Path, torch_state: None
) -> None:
    """Once in this process, once in another one that hashes strings differently."""
    settings = {"runner": {"max_iters": 2}, "log_config": {"interval": 1}}
    settings["checkpoint_config"] = {"interval": 2}
    values = small_runs.config(material, "cdda", **settings)
    here, there, other = (material / name for name in ("here", "there", "other"))
    file = tiny_run.write_config(material / "run.py", values)
    command = [sys.executable, "tools/train.py", str(file), "--work-dir", str(there)]
    environment = environment_with_as_many(PYTHONHASHSEED="77")
    done = subprocess.run(
        [*command, "--deterministic"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    torch.rand(7), np.random.random(7)  # what happened before must not matter
    for folder, seed in ((here, 5), (other, 6)):
        run_training(
            Config(values), TrainOptions(work_dir=str(folder), seed=seed, deterministic=True)
        )
    assert small_runs.differences(here / "latest.pth", there / "latest.pth") == []
    logged = small_runs.logged(here)
    assert set(logged) == {("train", 1), ("train", 2), ("val", 2)}
    assert small_runs.logged(there) == logged
    different = small_runs.differences(here / "latest.pth", other / "latest.pth")
    assert any(name.startswith("/state_dict/model.") for name in different)
    assert any(name.startswith("/optimizer/state") for name in different)
    assert small_runs.logged(other)["train", 1] != logged["train", 1]
    (log,) = here.glob("*.log")
    assert "--deterministic: the same command gives the same bits" in log.read_text()
