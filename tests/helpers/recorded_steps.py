"""Whole training steps that the reference recorded (goldens J and J2), and how to repeat them.

Needs what the project needs at run time and `tests/golden` on the path, so that benchmarks repeat
them on other devices.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import step_inputs
import torch
import torch.nn.functional as F
from golden_init import init_dacs, init_module
from torch import Tensor

from mmseg.config import Config
from mmseg.engine import build_optimizer
from mmseg.models import build_train_model
from mmseg.models.uda import Draws

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE, DETAIL = step_inputs.SIZE, 64  # pixels of a side
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
        chosen[:, [min(c, 19) for c in step_inputs.mix_classes(labels.cpu().numpy())]] = True
        return chosen.to(labels.device)

    def augmentation(self) -> None:
        return None

    def crop_box(
        self, height: int, width: int, crop_size: tuple[int, int], divisible: int
    ) -> tuple[int, int, int, int]:
        assert (height, width, *crop_size, divisible) == (SIZE, SIZE, DETAIL, DETAIL, 8)
        count = self.__dict__.setdefault("_boxes", 0)
        self.__dict__["_boxes"] = count + 1
        return step_inputs.BOXES[count % len(step_inputs.BOXES)]

    def block_mask(
        self, batch: int, height: int, width: int, mask_ratio: float, block_size: int
    ) -> Tensor:
        assert (mask_ratio, block_size) == (0.7, 32)
        kept = torch.from_numpy(step_inputs.block_mask(self.iteration, batch)).to(self.device)
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


def build(
    entry: dict[str, Any],
    bank_path: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    **changes: Any,
) -> Any:
    """Build the method of a recorded case, filled with the recorded weights.

    Args:
        entry: of `records`.
        bank_path: of the CDDA cases' bank.
        device, dtype: of the networks, and of all that they compute.
        **changes: keys of `uda`; `dropout` of the head.
    """
    model = copy.deepcopy(entry["model"])
    dropout = changes.pop("dropout", 0)
    if "dropout_ratio" in model["decode_head"]:
        model["decode_head"]["dropout_ratio"] = dropout
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
    if hasattr(method, "model_D"):
        init_module(method.model_D, "D:")
    return method.to(device, dtype)


def loader_batch(
    iteration: int,
    has_valid_mask: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Return the recorded batch of an iteration as the loader would; `dtype` is of the images."""
    img, gt, target_img, depth = (torch.from_numpy(a) for a in step_inputs.batch(iteration))
    tensors = {
        "img": img.to(dtype), "gt_semantic_seg": gt,
        "target_img": target_img.to(dtype), "target_depth": depth,
    }  # fmt: skip
    if has_valid_mask:
        tensors["valid_pseudo_mask"] = torch.from_numpy(step_inputs.valid_pseudo_mask())
    norm = {"mean": step_inputs.MEAN, "std": step_inputs.STD, "to_rgb": True}
    metas = [{"img_norm_cfg": norm, "img_shape": (SIZE, SIZE, 3)} for _ in img]
    moved = {key: value.to(device) for key, value in tensors.items()}
    return {**moved, "img_metas": metas, "target_img_metas": metas}


@dataclass(frozen=True)
class Tolerance:
    """How far a step may be from the recorded one, relatively."""

    losses: float
    modules: float  # gradient norms of backbone and head
    checksums: float
    parameters: float | None = None  # gradient norm of each parameter; None compares none
    pixels: int = 0  # whose predicted class may differ besides, in each accuracy


# Of a step in float64, which is the same on every device, from a recording in float32.
# Measured: losses 3e-7, modules 9e-6, checksums 6e-8, parameters 5e-6.
FIRST = Tolerance(losses=1e-6, modules=3e-5, checksums=2e-7, parameters=2e-5)
# AdamW, whose first steps are sign-like, has amplified rounding. Measured: losses 3e-6, modules
# 7e-4, checksums 2e-7, one pixel that two classes tie on.
SECOND = Tolerance(losses=1e-5, modules=2e-3, checksums=5e-7, pixels=1)
# The same where ReLUs are close to 0 (cdda_hrda_syn). Measured: parameters 8e-4, losses 1.2e-4, six
# pixels.
NEAR_RELUS = (replace(FIRST, parameters=2.5e-3), replace(SECOND, losses=4e-4, pixels=12))
# The recording is in float64, too. Measured: 4e-14 at most; after a step of AdamW 6e-13.
EXACT = Tolerance(losses=1e-12, modules=1e-12, checksums=1e-13, parameters=1e-12)
EXACT_SECOND = Tolerance(losses=1e-11, modules=1e-11, checksums=1e-12)


def double_tolerances(name: str, case: str) -> tuple[Tolerance, Tolerance]:
    """Return how far two steps in float64 may be from a case of the recording `name`."""
    if name == "J2 float64":
        return EXACT, EXACT_SECOND
    return NEAR_RELUS if case == "cdda_hrda_syn" else (FIRST, SECOND)


@dataclass
class Comparison:
    """The largest relative deviations of one step from the recorded one."""

    largest: dict[str, tuple[float, str]] = field(default_factory=dict)  # by kind; and of what

    def add(
        self, name: str, got: float, expected: float, tolerance: float, negligible: float = 0.0
    ) -> None:
        """Note a deviation, or raise if it exceeds the tolerance.

        Args:
            name: kind and key, as in `losses/decode.loss_seg`.
            got, expected: ours and the recorded value.
            tolerance: allowed deviation relative to the recorded value.
            negligible: absolute deviation that is allowed in any case.
        """
        scale = max(abs(expected), negligible / tolerance)
        deviation = abs(got - expected) / scale if got != expected else 0.0
        if not deviation <= tolerance:
            raise AssertionError(
                f"{name}: expected {expected:.9g}, got {got:.9g}; they differ by {deviation:.2e}, "
                f"tolerance {tolerance:.2e}"
            )
        kind = name.split("/")[0]
        self.largest[kind] = max(self.largest.get(kind, (0.0, "")), (deviation, name))


def check_steps(
    uda: Any, entry: dict[str, Any], tolerances: Sequence[Tolerance]
) -> list[Comparison]:
    """Do the recorded steps, one per tolerance, and compare all that was recorded.

    Returns:
        The largest deviations of each step.

    Raises:
        AssertionError: naming the value, what was expected, what came, and the tolerance.
    """
    optimizer = build_optimizer(uda, Config({"optimizer": OPTIMIZER}).optimizer)
    parameter = next(uda.parameters())
    comparisons = []
    for iteration, tolerance in enumerate(tolerances):
        recorded, comparison = entry["steps"][iteration], Comparison()
        valid = entry["valid_pseudo_mask"]
        batch = loader_batch(iteration, valid, parameter.dtype, parameter.device)
        draws = FixedDraws(0, iteration)
        draws.device = parameter.device
        logged = uda.train_step(batch, optimizer, iteration, draws)
        _expect_equal("detail boxes", draws.num_boxes, recorded["n_crop_calls"])
        unrecorded = ("masked.",) if entry["uda"]["type"] == "MinEnt" else ()  # not logged there
        ours = sorted(key for key in logged if not key.startswith(("cdda.", *unrecorded)))
        _expect_equal("logged values", ours, sorted(recorded["log_vars"]))
        for key, value in recorded["log_vars"].items():
            kind, negligible = "losses", 0.0
            if "acc" in key:  # percent of all pixels; a pixel's share is rounded itself
                side = DETAIL if ".hr." in key else SIZE
                kind, negligible = "accuracies", 1.1 * tolerance.pixels * 100 / (2 * side**2)
            comparison.add(f"{kind}/{key}", logged[key], value, tolerance.losses, negligible)
        check_gradients(uda, recorded, tolerance, comparison)
        check_checksums(uda, recorded, tolerance.checksums, comparison)
        comparisons.append(comparison)
    return comparisons


def check_gradients(
    uda: Any, recorded: dict[str, Any], tolerance: Tolerance, comparison: Comparison
) -> None:
    """Compare the gradient norms of the modules, and of each parameter where a tolerance is."""
    for name, norm in recorded["grad_norm"].items():
        gradients = [p.grad for p in uda.get_submodule(name).parameters() if p.grad is not None]
        squares: Any = sum(gradient.double().square().sum() for gradient in gradients)
        comparison.add(f"modules/{name}", squares.sqrt().item(), norm, tolerance.modules)
    norms = recorded["grad_norm_per_param"]  # of the first step
    if tolerance.parameters is None or norms is None:
        return
    _expect_equal("parameters with a gradient", len(norms), recorded["n_params_with_grad"])
    for name, norm in norms.items():
        own = uda.get_parameter(name).grad.norm().item()
        comparison.add(f"parameters/{name}", own, norm, tolerance.parameters, negligible=1e-7)


def check_checksums(
    uda: Any, recorded: dict[str, Any], tolerance: float, comparison: Comparison
) -> None:
    """Compare the sum over a module of all absolute values."""
    for name, (_, absolute) in recorded["checksum_sum_abssum"].items():
        state = uda.get_submodule(name).state_dict().values()
        total: Any = sum(value.double().abs().sum() for value in state)
        comparison.add(f"checksums/{name}", total.item(), absolute, tolerance)


def _expect_equal(what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise AssertionError(f"{what}: expected {expected}, got {got}")
