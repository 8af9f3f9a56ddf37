"""Two CPU processes (gloo): shared tensors, logged values and evaluation; lost processes."""

import math
import os
import socket
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from line_method import Gradient, Threshold
from torch import nn

from mmseg.apis.agreement import process_warnings
from mmseg.config.run_config import read_run
from mmseg.engine.evaluator import Evaluator
from mmseg.engine.meters import LossMeter
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.uda import Draws
from mmseg.system import processes
from mmseg.system.gradient_averaging import average_gradients

PROCESSES = 2


def primitives(rank: int) -> dict[str, Any]:
    shared, late, unused = (nn.Parameter(torch.zeros(n)) for n in (2, 3, 4))
    shared.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        late.grad = torch.ones(3)
    average_gradients([shared, late, unused])
    norm = nn.BatchNorm1d(3)
    nn.init.constant_(norm.weight, 2.0 - rank)
    nn.init.constant_(norm.running_mean, rank)
    processes.broadcast_buffers(norm)
    return {
        "sum": processes.all_reduce_sum(torch.tensor([rank + 1, 5])),
        "mean": processes.all_reduce_mean(torch.tensor([float(rank)])),
        "max": processes.all_reduce_max(torch.tensor([rank, -rank])),
        "objects": processes.gather_objects(f"from {rank}"),
        "broadcast": processes.broadcast_object(rank + 7),
        "any": [processes.any_process(flag) for flag in (rank == 1, False, True)],
        "norm": [norm.weight.detach(), norm.running_mean],
        "gradients": [shared.grad, late.grad, unused.grad],
    }


def of_training(rank: int) -> dict[str, Any]:
    """Return what VFM-UDA's phases share: a mean over labeled pixels, and classes to choose from.

    Process 0 has one labeled pixel of four, process 1 has three; their losses are log(2) each.
    """
    label = torch.tensor([[[0, 1, 1, 1]]])
    label[..., 1 + 2 * rank :] = 255
    logits = torch.zeros(1, 2, 1, 4)
    loss, found = CrossEntropyLoss(avg_non_ignore=True), {}
    for is_shared in (True, False):
        loss.counts_all_processes = is_shared
        draws = Draws(rank=rank, num_classes=4, shares_classes=is_shared)
        chosen = draws.mix_classes(torch.tensor([[[[2 * rank, 2 * rank + 1]]]])).sum(1).tolist()
        found[is_shared] = (loss(logits, label).item() / math.log(2), chosen)
    return found


def evaluation() -> dict[str, Any]:
    return Evaluator(Gradient(3))(Threshold(0.2)).record


def meter(rank: int) -> dict[str, float]:
    losses = LossMeter()
    losses.add({"both": torch.tensor(rank + 1.0)}, 1)
    if rank == 1:
        losses.add({"alone": torch.tensor(4.0)}, 2)
    return losses.means()


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    processes.init_from_environment()
    result = {"primitives": primitives(rank), "record": evaluation(), "meter": meter(rank)}
    result["training"] = of_training(rank)
    torch.optim.SGD([nn.Parameter(torch.ones(3))], 0.1)  # imports what may hold the group
    processes.barrier()
    group = weakref.ref(dist.group.WORLD)
    processes.shut_down()
    result["group is kept"] = group() is not None
    torch.save(result, Path(folder) / f"{rank}.pth")


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
        assert shared["any"] == [True, False, True]


def test_gradients_are_averaged_and_unused_ones_stay_away(results: list[dict[str, Any]]) -> None:
    for result in results:
        shared, late, unused = result["primitives"]["gradients"]
        assert shared.tolist() == [1.5, 3.0]
        assert late.tolist() == [0.5, 0.5, 0.5]
        assert unused is None


def test_nothing_keeps_the_group_and_its_threads(results: list[dict[str, Any]]) -> None:
    """A process that ends while they run is aborted now and then."""
    assert [result["group is kept"] for result in results] == [False, False]


def test_evaluation_counts_every_image_once(results: list[dict[str, Any]]) -> None:
    alone = evaluation()
    assert alone["num_images"] == 3
    assert results[0]["record"] == results[1]["record"] == alone


def test_buffers_of_process_0_reach_all(results: list[dict[str, Any]]) -> None:
    for rank, result in enumerate(results):
        weight, running_mean = result["primitives"]["norm"]
        assert running_mean.tolist() == [0.0, 0.0, 0.0]
        assert weight.tolist() == [2.0 - rank] * 3  # parameters stay each process's own


def test_loss_meters_agree_on_all_processes(results: list[dict[str, Any]]) -> None:
    """By hand: process 0 adds 1, process 1 adds 2 and, alone, another loss."""
    assert results[0]["meter"] == results[1]["meter"] == {"both": 1.5, "alone": 4.0}


def test_means_over_labeled_pixels_and_classes_to_paste_are_of_all_processes(
    results: list[dict[str, Any]],
) -> None:
    """By hand: 1 and 3 labeled pixels, 2 on average; half of 4 classes, or of each one's own 2."""
    shared, own = ([result["training"][kind] for result in results] for kind in (True, False))
    assert shared == [(pytest.approx(0.5), [2]), (pytest.approx(1.5), [2])]
    assert own == [(pytest.approx(1.0), [1]), (pytest.approx(1.0), [1])]


def test_one_process_shares_with_nobody() -> None:
    value = torch.tensor([2.0])
    assert processes.all_reduce_mean(value) is value
    assert processes.gather_objects(np.int64(3)) == [3]
    assert [processes.any_process(flag) for flag in (True, False)] == [True, False]
    processes.barrier()


def test_another_number_of_processes_than_planned_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def warnings(**values: object) -> list[str]:
        return process_warnings(read_run({"runner": {"max_iters": 2}, **values}))

    data = {"samples_per_gpu": 3}
    assert warnings(n_gpus=1, data=data) == warnings(n_gpus=None) == warnings() == []
    monkeypatch.setattr(processes, "world_size", lambda: 4)
    (warning,) = warnings(n_gpus=1, data=data)
    assert "n_gpus=1, but 4 process(es) run" in warning
    assert "4 x 3 = 12 images of each domain instead of 3, which" in warning
    assert warnings(n_gpus=4, data=data) == []


@pytest.mark.parametrize(
    "said",
    [
        "[/x/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:89: Connection reset by peer. "
        "This is typically caused by bugs",
        "[/x/unbound_buffer.cc:78] Timed out waiting 8000ms for recv operation to complete",
        "Application timeout caused pair closure",
        "NCCL communicator was aborted on rank 0.",
    ],
)
def test_a_lost_process_is_a_sentence(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    act_as_one_of_two(monkeypatch, said)
    expected = r"^Process 0 of 2: another process has ended .* --resume auto \([A-Z].*[a-z0]\)\.$"
    with pytest.raises(processes.ProcessGroupError, match=expected) as caught:
        processes.any_process(False)
    assert not any(word in str(caught.value) for word in ("typically", ".cc", ".."))


def test_a_mistake_of_the_program_is_no_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    act_as_one_of_two(monkeypatch, "Tensors must be contiguous")
    with pytest.raises(RuntimeError, match="contiguous") as caught:
        processes.all_reduce_sum(torch.zeros(3))
    assert not isinstance(caught.value, processes.ProcessGroupError)


def act_as_one_of_two(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """Let this process think that it has another one, which a backend cannot reach."""

    def fail(*_: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(processes, "world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", fail)
