"""Whole training steps of VFM-UDA(++), and of CDDA on it, against recorded ones (golden V).

In float64, the tolerances are what the recording's float32 mean of confident pixels leaves.
"""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vfm_steps
from torch import Tensor
from vfm_steps import arrays, fixed_draws, loader_batch, records, reference_name

from mmseg.config import load_config
from mmseg.engine import build_optimizer
from mmseg.engine.schedule import build_schedule
from mmseg.models.uda import StepOutput
from mmseg.models.uda.mixing import Normalization

SCHEDULE = Path(__file__).parents[3] / "configs/_base_/schedules/adamw_layerdecay_40k.py"
NORMALIZATION = Normalization.of(vfm_steps.IMAGENET)
EXACT = torch.float64


class Watch:
    """Notes the loss and the gradient norms of every backward pass of a student."""

    def __init__(self, student: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[dict[str, Any]] = []
        original = StepOutput.backward

        def backward(output: StepOutput, losses: Mapping[str, Tensor], prefix: str = "") -> None:
            before = {n: p.grad for n, p in student.named_parameters()}
            student.zero_grad()
            original(output, losses, prefix)
            own = [(n, p.grad) for n, p in student.named_parameters() if p.grad is not None]
            norms = {name: square**0.5 for name, (_, _, square) in sums(own).items()}
            loss = next(value.item() for key, value in losses.items() if "loss" in key)
            self.found.append({"loss": loss, "gradnorm": norms})
            for name, parameter in student.named_parameters():
                if (gradient := before[name]) is not None:
                    new = parameter.grad
                    parameter.grad = gradient if new is None else gradient + new

        monkeypatch.setattr(StepOutput, "backward", backward)

    def check(self, recorded: list[dict[str, Any]], loss: float, norm: float) -> None:
        """Compare with the recorded backward passes, with tolerances relative to their values."""
        assert len(self.found) == len(recorded)
        for ours, theirs in zip(self.found, recorded, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=loss)
            expected = {k: v for k, v in theirs["gradnorm"].items() if v}
            found = {k: v for k, v in ours["gradnorm"].items() if v}
            assert found == pytest.approx(expected, rel=norm)
        self.found.clear()


def sums(named: Iterable[tuple[str, Tensor]]) -> dict[str, list[float]]:
    """Return sum, absolute sum and sum of squares by two parts of the reference's names."""
    groups: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for name, value in named:
        if not name.endswith("num_batches_tracked"):
            group, value = groups[".".join(reference_name(name).split(".")[:2])], value.double()
            for i, term in enumerate((value, value.abs(), value.square())):
                group[i] += term.sum().item()
    return groups


def check_state(network: torch.nn.Module, recorded: dict[str, list[float]]) -> None:
    ours = sums(network.state_dict().items())
    assert ours.keys() == recorded.keys()
    for name, (total, absolute) in recorded.items():
        assert ours[name][:2] == pytest.approx([total, absolute], rel=1e-6, abs=1e-6 * absolute)


def check_pictures(pictures: dict[str, Any], case: str, iteration: int) -> None:
    """Compare what was mixed; pixels on a threshold may have another label."""
    out, name = records()[case]["out"], f"{case}/it{iteration}:"
    unit = NORMALIZATION.to_unit(pictures["mixed_image"]).flatten()[::187]
    np.testing.assert_allclose(unit, arrays()[f"{name}mixed_img/f64"], rtol=0, atol=1e-6)
    for ours, theirs in (("pseudo_label", "pseudo_label_rows"), ("mixed_label", "mixed_lbl_rows")):
        expected = arrays()[f"{name}{theirs}/f64"].reshape(2, 12, 192)
        assert (pictures[ours][:, ::16].numpy() != expected).mean() <= 2e-4
    total = out[f"it{iteration}:mixed_weight_sum"]["f64"]
    assert pictures["mixed_weight"].sum().item() == pytest.approx(total, rel=1e-6)


def test_two_steps_of_vfmudapp_equal_the_recorded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, out = load_config(SCHEDULE), records()["step"]["out"]
    uda = vfm_steps.build(tmp_path, EXACT)
    uda.picture_interval = 1
    optimizer = build_optimizer(uda, cfg.optimizer, images_per_step=2)
    schedule = build_schedule(cfg.lr_config, 40_000)
    watch = Watch(uda.model, monkeypatch)
    for iteration, (loss, norm) in enumerate(((1e-6, 1e-5), (1e-4, 1e-2))):
        schedule.apply(optimizer, iteration)
        optimizer.zero_grad()
        batch, draws = loader_batch("step", iteration, EXACT), fixed_draws("step", iteration)
        output = uda.accumulate_gradients(batch, iteration, draws)
        optimizer.step()
        watch.check(out[f"it{iteration}:backwards"]["f64"], loss, norm)
        check_pictures(output.pictures, "step", iteration)
        check_state(uda.model, out[f"it{iteration}:student_after"]["f64"])
        teacher = copy.deepcopy(uda.teacher)
        teacher.update(uda.model, iteration + 1)  # the recording does so at the end of a step
        check_state(teacher.network, out[f"it{iteration}:teacher_after"]["f64"])
        head = uda.vfm_distance.feat_project
        for name, (_, absolute) in out[f"it{iteration}:fd_head_after"]["f64"].items():
            own = head.get_submodule(name.rpartition(".")[2]).parameters()
            assert sum(p.abs().sum().item() for p in own) == pytest.approx(absolute, rel=1e-7)


@pytest.mark.parametrize(("kind", "loss", "norm"), [("f64", 1e-6, 1e-5), ("f32", 2e-5, 1e-3)])
def test_flipped_target_with_its_released_margins_equals_the_recorded_step(
    kind: str, loss: float, norm: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without distance, and as released: the margins of a flipped image are not flipped (V1)."""
    out = records()["step_noFD"]["out"]
    dtype = {"f64": torch.float64, "f32": torch.float32}[kind]
    uda = vfm_steps.build(tmp_path, dtype, has_distance=False, reference_quirks=True)
    watch = Watch(uda.model, monkeypatch)
    batch = loader_batch("step_noFD", 0, dtype, flips=True)
    output = uda.accumulate_gradients(batch, 0, fixed_draws("step_noFD", 0))
    watch.check(out["it0:backwards"][kind], loss, norm)
    check_pictures(output.pictures, "step_noFD", 0)


def test_step_of_cdda_on_vfmudapp_equals_the_recorded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six passes: source, guidance, mix, masked, and both distances."""
    out = records()["cdda_vfm_step"]["out"]["f64"]
    uda = vfm_steps.build(tmp_path, EXACT, **vfm_steps.write_bank(tmp_path / "bank"))
    watch = Watch(uda.model, monkeypatch)
    batch = {**loader_batch("cdda", 0, EXACT), "target_depth": vfm_steps.target_depth()}
    output = uda.accumulate_gradients(batch, 0, fixed_draws("cdda", 0))
    watch.check(out["backwards"], 1e-6, 1e-5)
    found = output.losses["cdda.similarity"].item()
    assert found == pytest.approx(np.mean(out["similarity"]), abs=2e-4)
    weight = output.pictures["mixed_weight"].sum().item()
    assert weight == pytest.approx(out["mixed_weight_sum"], rel=1e-6)
    counts = output.pictures["mixed_label"].flatten().bincount()
    assert {str(c): int(n) for c, n in enumerate(counts) if n} == out["mixed_label_counts"]
