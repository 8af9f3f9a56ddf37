"""Two CPU processes (gloo) of b images compute what one process of 2·b images computes.

One pair of processes does everything. Process 0 first computes alone what both compute together.
"""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models_cfg
import numpy as np
import pytest
import step_inputs
import torch
import torch.multiprocessing as mp
from golden_init import init_dacs
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg import distributed
from mmseg.engine.optimizer import build_optimizer
from mmseg.models import build_train_model
from mmseg.models.uda import Augmentation, Draws
from mmseg.models.uda.draws import ImageAugmentation

sys.path.insert(0, str(Path(__file__).parent / "engine"))
import small_runs  # noqa: E402

PROCESSES, IMAGES, SIZE, STEPS, LONG = 2, 2, 64, 5, 20  # images of one process
QUIET = 2  # in this iteration the depth of process 1 suggests nothing
WIDTHS = (8, 12, 16, 24)
SHALLOW = {"depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 3)}
CASES = ("daformer", "cdda", "cdda as released")
GRADIENT_STEPS = (0, QUIET)


@dataclass(frozen=True)
class LaterImages(Augmentation):
    """An augmentation whose first image is image `first` of a larger batch."""

    first: int = 0

    def image(self, index: int, strength: float) -> ImageAugmentation:
        return super().image(index + self.first, strength)


class Slice(Draws):
    """The choices for some images of a batch that every process knows as a whole."""

    def __init__(self, iteration: int, first: int) -> None:
        super().__init__(seed=4, iteration=iteration)
        self.first = first

    def mix_classes(self, labels: Tensor) -> Tensor:
        rng = np.random.default_rng(self.iteration)
        chosen = torch.from_numpy(rng.random((PROCESSES * IMAGES, 20)) > 0.5)
        return chosen[self.first : self.first + len(labels)]

    def augmentation(self) -> Augmentation:
        both = self.iteration % 2  # jitter and blur in every other iteration
        return LaterImages(0.9 * both, 0.9 * both, (self.iteration,), self.first)


def build(root: Path, case: str, dropout: float = 0.0) -> Any:
    """Return a method, the same for every process; dropout includes stochastic depth."""
    model = models_cfg.daformer("mit_b0", channels=16, embed=16, dropout=dropout)
    backbone = {"type": "MixVisionTransformer", "embed_dims": WIDTHS, **SHALLOW}
    model["backbone"] = {**backbone, "drop_path_rate": dropout}
    model["decode_head"]["in_channels"] = list(WIDTHS)
    model["decode_head"]["decoder_params"]["fusion_cfg"] = models_cfg.fusion("conv")
    uda = small_runs.config(root, case.split()[0])["uda"]
    uda.update(pseudo_weight_ignore_top=7, pseudo_threshold=0.4)
    if case.startswith("cdda"):
        uda.update(
            reweight_threshold=0.012,
            relabel_threshold=0.0,
            reference_quirks=case == "cdda as released",
        )
    method = build_train_model({"model": model, "uda": uda, "runner": {"max_iters": LONG}})
    return init_dacs(method)


def whole_batch(iteration: int) -> dict[str, Any]:
    """Return the images of all processes, float64; those of process 0 come first."""
    parts = [step_inputs.batch(PROCESSES * iteration + rank) for rank in range(PROCESSES)]
    image, label, target, depth = (
        torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)
    )
    window = (..., slice(32, 32 + SIZE), slice(16, 16 + SIZE))
    tensors = {"img": image, "gt_semantic_seg": label, "target_img": target, "target_depth": depth}
    batch: dict[str, Any] = {key: value[window].clone() for key, value in tensors.items()}
    batch["gt_semantic_seg"][IMAGES:, :, :, 20:] = 2  # process 1 sees fewer things
    if iteration == QUIET:
        batch["target_depth"][IMAGES:] = 255
    for key in ("img", "target_img"):
        batch[key] = batch[key].double()
    metas = [{"img_shape": (SIZE, SIZE, 3)} for _ in image]
    return {**batch, "img_metas": metas, "target_img_metas": metas}


def images_of(batch: dict[str, Any], first: int, count: int) -> dict[str, Any]:
    return {key: value[first : first + count] for key, value in batch.items()}


def double_steps(root: Path, case: str, first: int, count: int) -> dict[str, Any]:
    """Do SGD steps in float64 with norm layers in eval mode, on some images of each batch."""
    method = build(root, case).double()
    for module in method.modules():
        if isinstance(module, _BatchNorm | nn.LayerNorm):
            module.eval()
    optimizer = torch.optim.SGD(method.trainable_parameters(), 0.002)
    facts: list[dict[str, Any]] = []
    if method.depth_metric is not None:
        method.depth_metric.register_forward_hook(
            lambda _, __, match: facts.append(
                {
                    "guided": (match.guidance_table > 0).flatten(1).any(1).tolist(),
                    "replaced": (match.source_index >= 0).tolist(),
                    "weight": match.weight.unique().tolist(),
                    "dtypes": {match.weight.dtype, match.similarity.dtype, match.soft_weight.dtype},
                }
            )
        )
    gradients, logged = {}, []
    for iteration in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        batch = images_of(whole_batch(iteration), first, count)
        output = method.accumulate_gradients(batch, iteration, Slice(iteration, first))
        distributed.reduce_gradients(method.trainable_parameters())
        if iteration in GRADIENT_STEPS:
            named = method.model.named_parameters()
            gradients[iteration] = {k: p.grad.clone() for k, p in named if p.grad is not None}
        optimizer.step()
        logged.append({key: value.item() for key, value in output.losses.items()})
    values = {k: p.detach().clone() for k, p in method.named_parameters() if "imnet" not in k}
    return {"gradients": gradients, "values": values, "logged": logged, "facts": facts}


def compare(alone: dict[str, Any], together: dict[str, Any]) -> dict[str, Any]:
    """Return the largest relative differences, and what happened."""

    def relative(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
        assert ours.keys() == theirs.keys()
        return {k: float((ours[k] - v).norm() / v.norm()) for k, v in theirs.items()}

    gradients = (together["gradients"], alone["gradients"])
    return {
        "gradients": {t: relative(*(part[t] for part in gradients)) for t in GRADIENT_STEPS},
        "values": relative(together["values"], alone["values"]),
        "dtypes": {str(v.dtype) for v in together["values"].values()},
        "alone": {key: alone[key] for key in ("logged", "facts")},
    }


def long_training(root: Path, case: str, rank: int) -> dict[str, Any]:
    """Train with AdamW on other images and with other draws in every process."""
    method = build(root, case, dropout=0.2)
    if rank:  # until process 0 hands out its own
        nn.init.normal_(method.model.decode_head.conv_seg.weight)
    distributed.broadcast_module(method)
    method.train()
    optimizer = build_optimizer(method, {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.01})
    start = torch.cat([p.detach().flatten() for p in method.model.parameters()])
    for iteration in range(LONG):
        optimizer.zero_grad(set_to_none=True)
        batch = images_of(whole_batch(iteration), rank * IMAGES, IMAGES)
        single = {k: v.float() for k, v in batch.items() if k in ("img", "target_img")}
        draws = method.make_draws(iteration, rank, 0)
        output = method.accumulate_gradients({**batch, **single}, iteration, draws)
        distributed.reduce_gradients(method.trainable_parameters())
        optimizer.step()
    before = dict(method.model.named_buffers())["decode_head.fuse_layer.bn.running_mean"]
    own = before.clone()
    distributed.broadcast_buffers(method.model)
    return {
        "start": start,
        "student": dict(method.model.named_parameters()),
        "teacher": dict(method.ema_model.named_parameters()),
        "moments": optimizer.state_dict()["state"],
        "losses": {key: float(value) for key, value in output.losses.items()},
        "own statistics": own,
        "shared statistics": before,
    }


def work(rank: int, port: int, root: str) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in place.items()}, MASTER_ADDR="127.0.0.1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    alone = {}
    if rank == 0:
        count = PROCESSES * IMAGES
        alone = {case: double_steps(Path(root), case, 0, count) for case in CASES}
    distributed.init_from_environment()
    result: dict[str, Any] = {"double": {}, "long": {}}
    for case in CASES:
        together = double_steps(Path(root), case, rank * IMAGES, IMAGES)
        facts = {"logged": together["logged"], "facts": together["facts"]}
        compared = compare(alone[case], together) if rank == 0 else {}
        result["double"][case] = {**compared, "own": facts}
    for case in ("daformer", "cdda"):
        result["long"][case] = long_training(Path(root), case, rank)
    torch.save(result, Path(root) / f"{rank}.pth")
    distributed.barrier()
    distributed.shut_down()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    root = tmp_path_factory.mktemp("two")
    small_runs.write_material(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, str(root)), nprocs=PROCESSES)
    return [torch.load(root / f"{rank}.pth", weights_only=False) for rank in range(PROCESSES)]


@pytest.fixture(params=CASES)
def double(request: pytest.FixtureRequest, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the two processes say of one case."""
    return [result["double"][request.param] for result in results]


@pytest.mark.parametrize("iteration", GRADIENT_STEPS)
def test_gradients_are_those_of_one_process(double: list[dict[str, Any]], iteration: int) -> None:
    """To 1e-9 of each parameter's own gradient norm, in float64."""
    worst = double[0]["gradients"][iteration]
    assert len(worst) > 60
    assert double[0]["dtypes"] == {"torch.float64"}
    assert max(worst.values()) < 1e-9, max(worst, key=lambda name: worst[name])


def test_weights_after_five_steps_are_those_of_one_process(double: list[dict[str, Any]]) -> None:
    """Student and teacher, to 1e-8 of each parameter's own norm."""
    worst = double[0]["values"]
    assert {name.split(".")[0] for name in worst} == {"model", "ema_model"}
    assert max(worst.values()) < 1e-8, max(worst, key=lambda name: worst[name])


def test_logged_values_average_to_those_of_one_process(double: list[dict[str, Any]]) -> None:
    """Means over equally many images, to 1e-6 (accuracies are float32)."""
    alone = double[0]["alone"]["logged"]
    for iteration, expected in enumerate(alone):
        parts = [result["own"]["logged"][iteration] for result in double]
        assert parts[0].keys() == parts[1].keys() == expected.keys()
        means = {key: (parts[0][key] + parts[1][key]) / 2 for key in expected}
        assert means == pytest.approx(expected, rel=1e-6, abs=1e-9), iteration
        assert parts[0] != parts[1]


@pytest.mark.parametrize("case", CASES[1:])
def test_the_comparison_meets_what_it_is_about(results: list[dict[str, Any]], case: str) -> None:
    """Guidance on both processes although only images of one ask for it; some images replaced."""
    first, second = (result["double"][case]["own"] for result in results)
    assert any(first["facts"][QUIET]["guided"])
    assert not any(second["facts"][QUIET]["guided"])
    guided = ["tgt.loss" in logged for logged in second["logged"]]
    assert guided[QUIET] or case == "cdda as released"  # where the last flagged image decides
    assert any(guided)
    facts = first["facts"] + second["facts"]
    assert {is_replaced for fact in facts for is_replaced in fact["replaced"]} == {True, False}
    assert max(len(fact["weight"]) for fact in facts) > 2  # re-weighted by several similarities
    assert {kind for fact in facts for kind in fact["dtypes"]} == {torch.float64}


def _named(long: dict[str, Any], network: str) -> Iterator[tuple[str, Tensor]]:
    if network != "moments":
        yield from long[network].items()
        return
    for number, state in long["moments"].items():
        yield from ((f"{number} {name}", value) for name, value in state.items())


@pytest.mark.parametrize("case", ["daformer", "cdda"])
@pytest.mark.parametrize("network", ["student", "teacher", "moments"])
def test_processes_stay_identical_on_different_data(
    results: list[dict[str, Any]], case: str, network: str
) -> None:
    """After 20 iterations of AdamW with dropout, bit by bit; and they did change."""
    first, second = (result["long"][case] for result in results)
    assert first["losses"] != second["losses"]
    theirs = dict(_named(second, network))
    for name, value in _named(first, network):
        assert torch.equal(value, theirs[name]), name
    moved = torch.cat([p.detach().flatten() for p in first["student"].values()]) - first["start"]
    assert moved.abs().mean() > 1e-3


@pytest.mark.parametrize("case", ["daformer", "cdda"])
def test_batch_norm_is_local_until_its_statistics_are_shared(
    results: list[dict[str, Any]], case: str
) -> None:
    first, second = (result["long"][case] for result in results)
    assert not torch.equal(first["own statistics"], second["own statistics"])
    assert torch.equal(first["shared statistics"], first["own statistics"])
    assert torch.equal(second["shared statistics"], first["own statistics"])
