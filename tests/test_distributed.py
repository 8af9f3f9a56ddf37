"""Two CPU processes (gloo): shared tensors, evaluation, and identical students after training."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import models_cfg
import numpy as np
import pytest
import step_inputs
import torch
import torch.multiprocessing as mp
from torch import nn

from mmseg import distributed
from mmseg.engine.evaluator import Evaluator
from mmseg.engine.optimizer import build_optimizer
from mmseg.models import build_train_model

sys.path.insert(0, str(Path(__file__).parent / "engine"))
from line_method import Gradient, Threshold  # noqa: E402

PROCESSES, ITERATIONS, SIZE = 2, 5, 64
OPTIMIZER = {"type": "AdamW", "lr": 6e-5, "weight_decay": 0.01}
UDA = {"type": "DACS", "alpha": 0.999, "pseudo_threshold": 0.3, "pseudo_weight_ignore_top": 3}


def method() -> Any:
    """A small DACS with feature distance, whose weights depend on torch's seed."""
    model = models_cfg.daformer("mit_b0", channels=24, embed=32)
    uda = {**UDA, "imnet_feature_dist_lambda": 0.005, "imnet_feature_dist_classes": [13, 15, 18]}
    uda["imnet_feature_dist_scale_min_ratio"] = 0.75
    return build_train_model({"model": model, "uda": uda, "runner": {"max_iters": ITERATIONS}})


def batch(number: int) -> dict[str, Any]:
    image, label, target, depth = step_inputs.batch(number)
    window = (..., slice(32, 32 + SIZE), slice(16, 16 + SIZE))
    fields = {"img": image, "gt_semantic_seg": label, "target_img": target, "target_depth": depth}
    tensors = {k: torch.from_numpy(v)[window].contiguous() for k, v in fields.items()}
    metas = [{"img_shape": (SIZE, SIZE, 3)} for _ in image]
    return {**tensors, "img_metas": metas, "target_img_metas": metas}


def primitives(rank: int) -> dict[str, Any]:
    shared, late, unused = (nn.Parameter(torch.zeros(n)) for n in (2, 3, 4))
    shared.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        late.grad = torch.ones(3)
    distributed.reduce_gradients([shared, late, unused])
    return {
        "sum": distributed.all_reduce_sum(torch.tensor([rank + 1, 5])),
        "mean": distributed.all_reduce_mean(torch.tensor([float(rank)])),
        "max": distributed.all_reduce_max(torch.tensor([rank, -rank])),
        "objects": distributed.gather_objects(f"from {rank}"),
        "broadcast": distributed.broadcast_object(rank + 7),
        "gradients": [shared.grad, late.grad, unused.grad],
    }


def evaluation() -> dict[str, Any]:
    return Evaluator(Gradient(3))(Threshold(0.2)).record


def training(rank: int) -> dict[str, Any]:
    torch.manual_seed(rank)  # different weights until process 0 hands out its own
    uda = method()
    distributed.broadcast_module(uda)
    uda.train()
    optimizer = build_optimizer(uda, OPTIMIZER)
    start = torch.cat([p.detach().flatten() for p in uda.model.parameters()])
    for iteration in range(ITERATIONS):
        optimizer.zero_grad(set_to_none=True)
        draws = uda.make_draws(iteration, rank, 0)
        output = uda.accumulate_gradients(batch(2 * iteration + rank), iteration, draws)
        distributed.reduce_gradients(uda.trainable_parameters())
        optimizer.step()
    losses = {k: float(v) for k, v in output.losses.items()}
    end = {k: v.clone() for k, v in uda.model.named_parameters()}
    teacher = {k: v.clone() for k, v in uda.ema_model.named_parameters()}
    return {"start": start, "student": end, "teacher": teacher, "losses": losses}


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    distributed.init_from_environment()
    result = {"primitives": primitives(rank), "record": evaluation(), "training": training(rank)}
    torch.save(result, Path(folder) / f"{rank}.pth")
    distributed.barrier()
    distributed.shut_down()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, str(folder)), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pth") for rank in range(PROCESSES)]


def test_tensors_and_objects_are_shared(results: list[dict[str, Any]]) -> None:
    for result in results:
        shared = result["primitives"]
        assert shared["sum"].tolist() == [3, 10]
        assert shared["mean"].tolist() == [0.5]
        assert shared["max"].tolist() == [1, 0]
        assert shared["objects"] == ["from 0", "from 1"]
        assert shared["broadcast"] == 7


def test_gradients_are_averaged_and_unused_ones_stay_away(results: list[dict[str, Any]]) -> None:
    for result in results:
        shared, late, unused = result["primitives"]["gradients"]
        assert shared.tolist() == [1.5, 3.0]
        assert late.tolist() == [0.5, 0.5, 0.5]
        assert unused is None


def test_evaluation_counts_every_image_once(results: list[dict[str, Any]]) -> None:
    alone = evaluation()
    assert alone["num_images"] == 3
    assert results[0]["record"] == results[1]["record"] == alone


def test_students_stay_identical_on_different_data(results: list[dict[str, Any]]) -> None:
    """Five iterations of DACS: same weights on both processes, bit by bit, and they did change."""
    first, second = (result["training"] for result in results)
    assert first["losses"] != second["losses"]
    assert {"decode.loss_seg", "mix.decode.loss_seg"} <= set(first["losses"])
    for network in ("student", "teacher"):
        for name, value in first[network].items():
            assert torch.equal(value, second[network][name]), f"{network} {name}"
    moved = torch.cat([p.detach().flatten() for p in first["student"].values()]) - first["start"]
    assert moved.abs().mean() > 1e-5


def test_one_process_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in distributed.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert distributed.init_from_environment().type in ("cpu", "cuda")
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    value = torch.tensor([2.0])
    assert distributed.all_reduce_mean(value) is value
    assert distributed.gather_objects(np.int64(3)) == [3]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "got RANK without WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        (
            {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"},
            "expected 0 <= RANK, LOCAL_RANK < WORLD_SIZE, got RANK=2",
        ),
        (
            {"RANK": "one", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"},
            "expected whole numbers, got .*'one'",
        ),
    ],
)
def test_contradicting_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name in distributed.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match=message):
        distributed.init_from_environment()


def test_slurm_needs_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*distributed.VARIABLES, *distributed.SLURM_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match="SLURM_PROCID .* start the run with srun"):
        distributed.init_from_environment("slurm")
