"""The learning rate at every iteration."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg.engine.schedule import build_schedule
from mmseg.system.errors import ConfigError

POLY = {"policy": "poly", "warmup": "linear", "warmup_iters": 1500, "warmup_ratio": 1e-6,
        "power": 1.0, "min_lr": 0.0, "by_epoch": False}  # fmt: skip


def test_poly_with_warmup_is_the_curve_of_the_golden(golden: Path) -> None:
    """Tolerance: the last bits of float64."""
    curve = np.load(golden / "F/lr_curve.npz")
    schedule = build_schedule(POLY, max_iters=40000)
    ours = [schedule.rate(6e-5, int(t)) for t in curve["iters"]]
    np.testing.assert_allclose(ours, curve["lr"], rtol=1e-13, atol=0)


VFM = {"policy": "warmup_linear", "warmup_iters": 1500, "warmup_ratio": 1e-3}


def test_warmup_linear_is_the_curve_of_the_golden(golden: Path) -> None:
    """Golden V, exact to 1e-12; every 29th of 40,001 iterations, and a whole run of 60."""
    curves = np.load(golden / "V/recipe.npz")
    runs = ((VFM, 40000, 29, "factor"), ({**VFM, "warmup_iters": 10}, 60, 1, "toy"))
    for cfg, length, step, name in runs:
        schedule = build_schedule(cfg, max_iters=length)
        ours = [schedule.rate(1.0, i) for i in range(0, length + 1, step)]
        np.testing.assert_allclose(ours, curves[f"lr_curve/{name}/f64"], rtol=1e-12, atol=1e-15)


def test_warmup_linear_by_hand_jumps_onto_the_falling_line() -> None:
    """Three iterations from 0.2 to 1, then 1 - t/5; a resumed run continues at its iteration."""
    cfg = {"policy": "warmup_linear", "warmup_iters": 3, "warmup_ratio": 0.2}
    schedule = build_schedule(cfg, max_iters=5)
    expected = [0.2, 0.6, 1.0, 0.4, 0.2, 0.0, 0.0]
    assert [schedule.rate(10.0, t) / 10 for t in range(7)] == pytest.approx(expected)
    single = build_schedule({**cfg, "warmup_iters": 1}, max_iters=5)
    assert [single.rate(1.0, t) for t in range(2)] == pytest.approx([0.2, 0.8])
    assert schedule.state_dict() == {**cfg, "max_iters": 5}


def test_every_group_follows_its_own_initial_rate() -> None:
    groups = [{"params": [torch.zeros(2)], "lr": lr} for lr in (0.8, 0.08)]
    optimizer = torch.optim.SGD(groups)
    schedule = build_schedule({"policy": "poly", "power": 2.0, "min_lr": 0.0}, max_iters=4)
    for iteration, factor in ((1, 0.5625), (2, 0.25), (1, 0.5625)):
        schedule.apply(optimizer, iteration)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.8 * factor, 0.08 * factor])


@pytest.mark.parametrize(
    ("warmup", "expected"), [("linear", 0.55), ("constant", 0.1), ("exp", 0.1**0.5)]
)
def test_warmups_halfway(warmup: str, expected: float) -> None:
    cfg = {"policy": "fixed", "warmup": warmup, "warmup_iters": 4, "warmup_ratio": 0.1}
    schedule = build_schedule(cfg, max_iters=9)
    assert schedule.rate(2.0, 2) == pytest.approx(2 * expected)
    assert schedule.rate(2.0, 4) == 2.0


def test_without_a_section_the_rate_stays() -> None:
    assert build_schedule(None, 5).rate(0.3, 4) == 0.3


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"policy": "warmup_liner"}, "Did you mean 'warmup_linear'"),
        ({**VFM, "warmup_ratio": 1.5}, "warmup_ratio of lr_config: expected .* at most 1, got 1.5"),
        ({"policy": "polly"}, "policy of lr_config: expected .*got 'polly'. Did you mean 'poly'"),
        ({"policy": "poly", "min_lrr": 0}, "unknown key 'min_lrr' .* did you mean 'min_lr'"),
        ({"policy": "fixed", "warmup": "liner"}, "Did you mean 'linear'"),
        ({"policy": "poly", "by_epoch": True}, "by_epoch of lr_config: expected False, got True"),
    ],
)
def test_errors_of_the_section(cfg: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_schedule(cfg, 10)
