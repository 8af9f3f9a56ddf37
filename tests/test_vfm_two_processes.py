"""CDDA on VFM-UDA++: two processes (gloo) of 2 images compute what one of 4 images computes.

In float64, with batch norm over both processes, which torch has for GPUs alone. What the method
itself shares is tested in the fast suite, too: see `test_distributed`.
"""

import os
import socket
from pathlib import Path
from typing import Any

import family_runs
import pytest
import torch
import torch.multiprocessing as mp
from paired_steps import IMAGES, PROCESSES, images_of, whole_batch
from torch import Tensor, nn

from mmseg.models import build_train_model
from mmseg.models.uda import Draws
from mmseg.models.uda.draws import ImageJitter, JitterKind
from mmseg.system import processes
from mmseg.system.gradient_averaging import average_gradients

pytestmark = pytest.mark.slow
STEPS = 2
WHOLE = PROCESSES * IMAGES


class SumOfAll(torch.autograd.Function):
    """The sum over all processes, which its gradient is, too."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return processes.all_reduce_sum(value.clone())

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return processes.all_reduce_sum(gradient.clone())


class BatchNormOfAll(nn.BatchNorm2d):
    """Normalizes with the statistics of all processes, whose images are equally many."""

    def forward(self, input: Tensor) -> Tensor:
        sums = torch.stack([input.sum((0, 2, 3)), input.square().sum((0, 2, 3))])
        count = input.numel() // input.shape[1] * processes.world_size()
        mean, square = SumOfAll.apply(sums) / count
        variance = square - mean.square()
        scale = (variance + self.eps).rsqrt() * self.weight
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return (input - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


class Slice(Draws):
    """The choices for images `first`, `first + 1`, … of a batch of `WHOLE` images."""

    first = 0

    def image_jitters(self, purpose: str, kind: JitterKind, count: int) -> list[ImageJitter]:
        return super().image_jitters(purpose, kind, WHOLE)[self.first :][:count]

    def keep_grid(self, batch: int, rows: int, columns: int, mask_ratio: float) -> Tensor:
        return super().keep_grid(WHOLE, rows, columns, mask_ratio)[self.first :][:batch]

    def mix_classes(self, labels: Tensor) -> Tensor:
        """Choose from the classes of the labels, which are repeated to be as many as all."""
        repeated = labels.repeat(WHOLE // len(labels), 1, 1, 1)
        return super().mix_classes(repeated)[self.first :][: len(labels)]


def build(root: Path) -> Any:
    values = family_runs.config(root, "cdda_vfm", "vit_adapter")
    values["uda"] |= {"reweight_threshold": 0.012, "relabel_threshold": 0.0}
    torch.manual_seed(1)
    method: Any = build_train_model({key: values[key] for key in ("model", "uda", "runner")})
    for parent in list(method.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                new = BatchNormOfAll(norm.num_features, norm.eps, norm.momentum)
                setattr(parent, name, new.requires_grad_(norm.weight.requires_grad))
    method.init_weights()
    nn.init.normal_(method.model.decode_head.conv_seg.weight)  # certain of some pixels
    return method.double()


def batch_of(iteration: int) -> dict[str, Any]:
    batch = whole_batch(iteration)
    batch["gt_semantic_seg"][:IMAGES, :, 40:] = 255  # process 0 has fewer labeled pixels
    return batch


def steps(root: Path, first: int, count: int) -> dict[str, Any]:
    """Do steps of SGD on some images of each batch."""
    method = build(root)
    optimizer = torch.optim.SGD(method.trainable_parameters(), 0.002)
    logged, gradients = [], []
    for iteration in range(STEPS):
        optimizer.zero_grad()
        draws = Slice(4, iteration, shares_classes=True)
        draws.first = first
        batch = images_of(batch_of(iteration), first, count)
        output = method.accumulate_gradients(batch, iteration, draws)
        average_gradients(method.trainable_parameters())
        named = [(k, p.grad) for k, p in method.named_parameters() if p.grad is not None]
        gradients.append({k: gradient.clone() for k, gradient in named})
        optimizer.step()
        logged.append({key: value.item() for key, value in output.losses.items()})
    state = {k: v for k, v in method.state_dict().items() if v.is_floating_point()}
    return {"logged": logged, "gradients": gradients, "state": state}


def work(rank: int, port: int, root: str) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    processes.init_from_environment()
    torch.save(steps(Path(root), rank * IMAGES, IMAGES), Path(root) / f"{rank}.pth")
    processes.shut_down()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes found, and then what one did."""
    root = tmp_path_factory.mktemp("two")
    family_runs.write_material(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, str(root)), nprocs=PROCESSES)
    found = [torch.load(root / f"{rank}.pth", weights_only=False) for rank in range(PROCESSES)]
    return [*found, steps(root, 0, WHOLE)]


def test_losses_are_means_of_those_of_the_processes(results: list[dict[str, Any]]) -> None:
    for first, second, alone in zip(*(each["logged"] for each in results), strict=True):
        assert {"tgt.loss", "src.loss_vfm_feat_dist", "tgt.loss_vfm_feat_dist"} <= alone.keys()
        means = {key: (first[key] + second[key]) / 2 for key in alone}
        assert means == pytest.approx(alone, rel=1e-6, abs=1e-9)
        assert first != second


def test_gradients_and_networks_are_those_of_one_process(results: list[dict[str, Any]]) -> None:
    """To the rounding of positions, resized in float32; also batch norm's statistics, teacher."""
    first, _, alone = results
    for ours, theirs, expected in zip(*(each["gradients"] for each in results), strict=True):
        assert ours.keys() == theirs.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(ours[name], theirs[name])
            assert (ours[name] - value).norm() <= 1e-6 * value.norm() + 1e-9, name
    for name, value in alone["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-7, atol=1e-8, msg=name)
