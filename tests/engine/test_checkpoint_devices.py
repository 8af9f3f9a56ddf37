"""Checkpoints between a GPU and the CPU: which device their tensors are on, before and after."""

from pathlib import Path
from typing import Any

import pytest
import torch
from line_method import Rivals, batches, make_trainer
from torch import Tensor
from torch.utils._pytree import tree_leaves
from virtual_device import VirtualDevice

from mmseg.datasets.loader import to_device
from mmseg.engine.checkpoint import saved_state, write_checkpoint
from mmseg.engine.trainer import Trainer

GPU = torch.device("cuda", 0)


def trainer(folder: Path) -> Trainer:
    """A run on the GPU with two optimizers and gradients that wait for their step."""
    method = Rivals(0.5)
    method.to(GPU)
    return make_trainer(folder, method, cumulative_iters=2)


def train(run: Trainer, start: int, stop: int) -> None:
    for batch in batches(start, stop):
        run.step(to_device(batch, run.device))


def places(values: Any) -> set[torch.device]:
    return {value.device for value in tree_leaves(values) if isinstance(value, Tensor)}


def states(run: Trainer) -> list[Any]:
    gradients = [p.grad for p in run.method.model.parameters()]
    return [*(o.state_dict() for o in run.updates.optimizers), gradients, saved_state(run.method)]


@pytest.mark.parametrize("fused", [True, None])
def test_a_run_on_a_gpu_saves_cpu_tensors_and_resumes_on_the_gpu(
    tmp_path: Path, fused: bool | None
) -> None:
    """Also where the optimizer kept its numbers of steps on the CPU, as those not fused do."""
    file = tmp_path / "a.pth"
    with VirtualDevice():
        first = trainer(tmp_path)
        train(first, 0, 3)
        content = first.content()
        assert GPU in places(content)
        for group in content["optimizer"]["param_groups"]:
            group["fused"] = fused
        write_checkpoint(file, content)
    saved = torch.load(file, weights_only=True)
    assert places(saved) == {torch.device("cpu")}
    with VirtualDevice():
        first, second = trainer(tmp_path), trainer(tmp_path)
        second.resume(file)
        assert places(states(second)) == {GPU}
        train(first, 0, 4)
        train(second, 3, 4)
    assert str(states(second)) == str(states(first))


def test_tensors_of_the_cpu_are_not_copied_to_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint has 1.4 GB."""
    weight, written = torch.ones(2), []
    monkeypatch.setattr("torch.save", lambda content, file: written.append(content))
    write_checkpoint(tmp_path / "a.pth", {"state_dict": {"weight": weight}, "losses": [(weight,)]})
    assert [leaf.data_ptr() for leaf in tree_leaves(written)] == [weight.data_ptr()] * 2
