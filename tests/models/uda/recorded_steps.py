"""Whole training steps that the reference recorded (goldens J and J2), and how to repeat them."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import step_inputs
import torch
import torch.nn.functional as F
from golden_init import init_dacs, init_module
from torch import Tensor

from mmseg.config import Config
from mmseg.engine import build_optimizer
from mmseg.models import build_train_model
from mmseg.models.uda import Draws

GOLDEN = Path(__file__).parents[2] / "golden"
FILES = {"J": "J/J.json", "J2": "J2/J2.json", "J2 float64": "J2/J2_f64.json"}
OPTIMIZER = {
    "type": "AdamW",
    "lr": 6e-5,
    "betas": (0.9, 0.999),
    "weight_decay": 0.01,
    "paramwise_cfg": {
        "custom_keys": {
            "head": {"lr_mult": 10.0},
            "pos_block": {"decay_mult": 0.0},
            "norm": {"decay_mult": 0.0},
        }
    },
}


@cache
def records(name: str = "J") -> dict[str, Any]:
    return json.loads((GOLDEN / FILES[name]).read_text())


class FixedDraws(Draws):
    """The choices that the recording made."""

    def mix_classes(self, labels: Tensor) -> Tensor:
        chosen = torch.zeros(len(labels), 20, dtype=torch.bool)
        chosen[:, [min(c, 19) for c in step_inputs.mix_classes(labels.numpy())]] = True
        return chosen

    def augmentation(self) -> None:
        return None

    def crop_box(
        self, height: int, width: int, crop_size: tuple[int, int], divisible: int
    ) -> tuple[int, int, int, int]:
        assert (height, width, *crop_size, divisible) == (128, 128, 64, 64, 8)
        count = self.__dict__.setdefault("_boxes", 0)
        self.__dict__["_boxes"] = count + 1
        return step_inputs.BOXES[count % len(step_inputs.BOXES)]

    def block_mask(
        self, batch: int, height: int, width: int, mask_ratio: float, block_size: int
    ) -> Tensor:
        assert (mask_ratio, block_size) == (0.7, 32)
        kept = torch.from_numpy(step_inputs.block_mask(self.iteration, batch))
        return F.interpolate(kept, (height, width), mode="nearest")

    @property
    def num_boxes(self) -> int:
        """How many detail boxes have been drawn."""
        return self.__dict__.get("_boxes", 0)


def bank_file(folder: Path) -> Path:
    """Write the bank of the CDDA cases and return its path."""
    bank = step_inputs.source_bank(GOLDEN / "J" / "src_matrix.npz")
    path = folder / "gta_20_distribution.pth"
    torch.save(torch.from_numpy(bank), path)
    return path


def build(entry: dict[str, Any], bank_path: Path | None = None, **changes: Any) -> Any:
    """Build the method of a recorded case, filled with the recorded weights.

    Args:
        entry: of `records`.
        bank_path: of the CDDA cases' bank.
        **changes: keys of `uda`; `dropout` of the head.
    """
    model = copy.deepcopy(entry["model"])
    model["decode_head"]["dropout_ratio"] = changes.pop("dropout", 0)
    uda = {**entry["uda"], **changes}
    if entry["cdda"]:
        uda.update(
            matrix_path=str(bank_path),
            croped_images_path=str(GOLDEN / "J/src/images"),
            croped_labels_path=str(GOLDEN / "J/src/labels"),
        )
    cfg = Config({"model": model, "uda": uda, "runner": {"max_iters": 40_000}})
    method: Any = init_dacs(build_train_model(cfg))
    if method.mic is not None and method.mic.teacher is not None:
        init_module(method.mic.teacher.ema_model, "ema:")
    return method


def loader_batch(
    iteration: int, has_valid_mask: bool = False, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    img, gt, target_img, depth = (torch.from_numpy(a) for a in step_inputs.batch(iteration))
    norm = {"mean": step_inputs.MEAN, "std": step_inputs.STD, "to_rgb": True}
    metas = [{"img_norm_cfg": norm, "img_shape": (128, 128, 3)} for _ in range(2)]
    batch = {
        "img": img.to(dtype), "img_metas": metas, "gt_semantic_seg": gt,
        "target_img": target_img.to(dtype), "target_img_metas": metas, "target_depth": depth,
    }  # fmt: skip
    if has_valid_mask:
        batch["valid_pseudo_mask"] = torch.from_numpy(step_inputs.valid_pseudo_mask())
    return batch


@dataclass(frozen=True)
class Tolerance:
    """How far a step may be from the recorded one, relatively."""

    losses: float
    modules: float  # gradient norms of backbone and head
    checksums: float
    parameters: float | None = None  # gradient norm of each parameter; None compares none


def check_steps(uda: Any, entry: dict[str, Any], tolerances: Sequence[Tolerance]) -> None:
    """Do the recorded steps, one per tolerance, and compare all that was recorded."""
    optimizer = build_optimizer(uda, Config({"optimizer": OPTIMIZER}).optimizer)
    dtype = next(uda.parameters()).dtype
    for iteration, tolerance in enumerate(tolerances):
        recorded = entry["steps"][iteration]
        batch = loader_batch(iteration, entry["valid_pseudo_mask"], dtype)
        draws = FixedDraws(0, iteration)
        logged = uda.train_step(batch, optimizer, iteration, draws)
        assert draws.num_boxes == recorded["n_crop_calls"]
        ours = [key for key in logged if not key.startswith("cdda.")]
        assert sorted(ours) == sorted(recorded["log_vars"])
        for key, value in recorded["log_vars"].items():
            assert logged[key] == pytest.approx(value, rel=tolerance.losses), key
        check_gradients(uda, recorded, tolerance)
        check_checksums(uda, recorded, tolerance.checksums)


def check_gradients(uda: Any, recorded: dict[str, Any], tolerance: Tolerance) -> None:
    for name, norm in recorded["grad_norm"].items():
        gradients = [p.grad for p in uda.get_submodule(name).parameters() if p.grad is not None]
        squares = sum(gradient.double().square().sum() for gradient in gradients)
        assert squares.sqrt().item() == pytest.approx(norm, rel=tolerance.modules), name
    if tolerance.parameters is None:
        return
    assert len(recorded["grad_norm_per_param"]) == recorded["n_params_with_grad"]
    for name, norm in recorded["grad_norm_per_param"].items():
        own = uda.get_parameter(name).grad.norm().item()
        assert own == pytest.approx(norm, rel=tolerance.parameters, abs=1e-7), name


def check_checksums(uda: Any, recorded: dict[str, Any], tolerance: float) -> None:
    """The sum over a module of all absolute values."""
    for name, (_, absolute) in recorded["checksum_sum_abssum"].items():
        state = uda.get_submodule(name).state_dict().values()
        total = sum(value.double().abs().sum() for value in state)
        assert total.item() == pytest.approx(absolute, rel=tolerance), name
