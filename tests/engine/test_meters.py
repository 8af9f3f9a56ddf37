"""Losses between two lines of the log."""

import pytest
import torch
from line_method import NoCopies
from torch import Tensor

from mmseg.engine.meters import LossMeter, StepClock

NAN, INF = float("nan"), float("inf")


def losses(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_means_are_over_the_iterations_that_had_the_loss() -> None:
    meter = LossMeter()
    meter.add(losses(a=1.0, b=10.0), 1)
    meter.add(losses(a=2.0), 2)
    meter.add(losses(a=6.0, b=30.0), 3)
    meter.add({}, 4)
    assert meter.means() == {"a": 3.0, "b": 20.0}
    meter.reset()
    assert meter.means() == {}


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_the_first_bad_term_is_named_with_its_value_and_iteration(bad: float) -> None:
    """b turns bad at iteration 6, a only at 7, as a consequence; later values change nothing."""
    meter = LossMeter()
    for iteration, values in ((5, (1.0, 2.0)), (6, (1.5, bad)), (7, (NAN, NAN)), (8, (0.5, 0.5))):
        meter.add(losses(a=values[0], b=values[1]), iteration)
    with pytest.raises(FloatingPointError, match=f"got b = {bad} at iteration 6$"):
        meter.means()


def test_a_bad_term_is_found_among_terms_that_come_in_different_groups() -> None:
    meter = LossMeter()
    meter.add(losses(a=1.0), 3)
    meter.add(losses(a=NAN, b=1.0), 4)
    meter.add(losses(a=INF), 5)
    with pytest.raises(FloatingPointError, match="got a = nan at iteration 4$"):
        meter.means()


def test_a_restored_meter_goes_on_bit_by_bit() -> None:
    """Sums are float32 whose order matters; the state is taken in the middle."""
    values = torch.rand(40, generator=torch.Generator().manual_seed(3)).tolist()
    whole, first, second = LossMeter(), LossMeter(), LossMeter()
    for iteration, value in enumerate(values):
        here = losses(a=value) if iteration % 3 else losses(a=value, b=value / 7)
        whole.add(here, iteration)
        (first if iteration < 17 else second).add(here, iteration)
        if iteration == 16:
            second.load_state_dict(first.state_dict(), torch.device("cpu"))
    assert second.means() == whole.means()


def test_the_saved_state_does_not_change_with_further_losses() -> None:
    meter = LossMeter()
    meter.add(losses(a=1.0), 1)
    state = meter.state_dict()
    restored = LossMeter()
    restored.load_state_dict(state, torch.device("cpu"))
    meter.add(losses(a=5.0), 2)
    restored.add(losses(a=7.0), 2)
    again = LossMeter()
    again.load_state_dict(state, torch.device("cpu"))
    assert again.means() == {"a": 1.0}


def test_adding_reads_nothing_from_the_device() -> None:
    meter = LossMeter()
    with NoCopies():
        for iteration in range(3):
            meter.add({"a": torch.tensor(1.0), "b": torch.tensor(NAN)}, iteration)
    with NoCopies(), pytest.raises(AssertionError, match="tolist"):
        meter.means()


def test_the_time_that_is_left_is_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 of 100 iterations in 76 s: the other 98 take 98 · 38 s = 3724 s."""
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    clock = StepClock(0, 100)
    now = 76.0
    assert clock.eta(2) == "1:02:04"
