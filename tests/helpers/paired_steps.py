"""Training steps of two CPU processes (gloo) of b images, and of one process of 2·b images.

One pair of processes does everything. Process 0 first computes alone what both compute together.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models_cfg
import numpy as np
import small_runs
import step_inputs
import torch
from golden_init import init_dacs, init_module
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg.engine.optimizer import build_optimizer
from mmseg.models import build_train_model
from mmseg.models.uda import Augmentation, Draws
from mmseg.models.uda.draws import ImageAugmentation
from mmseg.system import processes
from mmseg.system.gradient_averaging import average_gradients

PROCESSES, IMAGES, SIZE, STEPS, LONG = 2, 2, 64, 5, 20  # images of one process
QUIET = 2  # in this iteration the depth of process 1 suggests nothing
CASES = ("daformer", "cdda", "cdda as released", "hrda", "mic_teacher")
TEACHERS = ("ema_model.", "mic.")
LONG_CASES = ("daformer", "cdda", "mic_teacher")
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
        self.boxes = 0

    def crop_box(
        self, height: int, width: int, crop_size: tuple[int, int], divisible: int
    ) -> tuple[int, int, int, int]:
        """One box for the images of all processes."""
        self.boxes += 1
        rng = np.random.default_rng((self.iteration, self.boxes))
        sides = zip((height, width), crop_size, strict=True)
        y, x = (divisible * int(rng.integers((a - b + 1) // divisible)) for a, b in sides)
        return y, y + crop_size[0], x, x + crop_size[1]

    def block_mask(
        self, batch: int, height: int, width: int, mask_ratio: float, block_size: int
    ) -> Tensor:
        whole = Draws(seed=6, iteration=self.iteration)
        mask = whole.block_mask(PROCESSES * IMAGES, height, width, mask_ratio, block_size)
        return mask[self.first : self.first + batch]

    def mix_classes(self, labels: Tensor) -> Tensor:
        rng = np.random.default_rng(self.iteration)
        chosen = torch.from_numpy(rng.random((PROCESSES * IMAGES, 20)) > 0.5)
        return chosen[self.first : self.first + len(labels)]

    def augmentation(self) -> Augmentation:
        both = self.iteration % 2  # jitter and blur in every other iteration
        return LaterImages(0.9 * both, 0.9 * both, (self.iteration,), self.first)


def build(root: Path, case: str, dropout: float = 0.0) -> Any:
    """Return a method, the same for every process; dropout includes stochastic depth."""
    kind = case.split()[0]
    values = small_runs.config(root, kind)
    model, uda = values["model"], values["uda"]
    model["backbone"] = {**small_runs.SMALL_BACKBONE, "drop_path_rate": dropout}
    model["decode_head"].update(in_channels=model["backbone"]["embed_dims"], dropout_ratio=dropout)
    model["decode_head"]["decoder_params"]["fusion_cfg"] = models_cfg.fusion("conv")
    uda.update(pseudo_weight_ignore_top=7, pseudo_threshold=0.4)
    if kind != "daformer":
        uda.update(
            reweight_threshold=0.012,
            relabel_threshold=0.0,
            reference_quirks=case == "cdda as released",
        )
    if kind == "mic_teacher":
        uda.update(mask_pseudo_threshold=0.5)
    method: Any = build_train_model({"model": model, "uda": uda, "runner": {"max_iters": LONG}})
    if kind == "mic_teacher":
        init_module(method.mic.teacher.ema_model, "ema:")
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
    if method.cdda is not None:
        method.cdda.metric.register_forward_hook(
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
        average_gradients(method.trainable_parameters())
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

    def without_zeros(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        largest = max(v.norm() for v in gradients.values())
        return {k: v for k, v in gradients.items() if v.norm() > 1e-13 * largest}

    gradients = {
        t: [without_zeros(part["gradients"][t]) for part in (together, alone)]
        for t in GRADIENT_STEPS
    }
    return {
        "gradients": {t: relative(*parts) for t, parts in gradients.items()},
        "zeros": {
            k
            for t, (ours, _) in gradients.items()
            for k in together["gradients"][t].keys() - ours.keys()
        },
        "values": relative(together["values"], alone["values"]),
        "dtypes": {str(v.dtype) for v in together["values"].values()},
        "alone": {key: alone[key] for key in ("logged", "facts")},
    }


def long_training(root: Path, case: str, rank: int) -> dict[str, Any]:
    """Train with AdamW on other images and with other draws in every process."""
    method = build(root, case, dropout=0.2)
    head = getattr(method.model.decode_head, "head", method.model.decode_head)
    if rank:  # until process 0 hands out its own
        nn.init.normal_(head.conv_seg.weight)
    processes.broadcast_module(method)
    method.train()
    optimizer = build_optimizer(method, {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.01})
    start = torch.cat([p.detach().flatten() for p in method.model.parameters()])
    for iteration in range(LONG):
        optimizer.zero_grad(set_to_none=True)
        batch = images_of(whole_batch(iteration), rank * IMAGES, IMAGES)
        single = {k: v.float() for k, v in batch.items() if k in ("img", "target_img")}
        draws = method.make_draws(iteration, rank, 0)
        output = method.accumulate_gradients({**batch, **single}, iteration, draws)
        average_gradients(method.trainable_parameters())
        optimizer.step()
    statistics = head.fuse_layer.bn.running_mean
    own = statistics.clone()
    processes.broadcast_buffers(method.model)
    return {
        "start": start,
        "student": dict(method.model.named_parameters()),
        "teachers": {k: v for k, v in method.named_parameters() if k.startswith(TEACHERS)},
        "moments": optimizer.state_dict()["state"],
        "losses": {key: float(value) for key, value in output.losses.items()},
        "own statistics": own,
        "shared statistics": statistics,
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
    processes.init_from_environment()
    result: dict[str, Any] = {"double": {}, "long": {}}
    for case in CASES:
        together = double_steps(Path(root), case, rank * IMAGES, IMAGES)
        facts = {"logged": together["logged"], "facts": together["facts"]}
        compared = compare(alone[case], together) if rank == 0 else {}
        result["double"][case] = {**compared, "own": facts}
    for case in LONG_CASES:
        result["long"][case] = long_training(Path(root), case, rank)
    torch.save(result, Path(root) / f"{rank}.pth")
    processes.barrier()
    processes.shut_down()
