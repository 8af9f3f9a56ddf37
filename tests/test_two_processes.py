"""Two CPU processes (gloo) of b images compute what one process of 2·b images computes."""

import socket
from collections.abc import Iterator
from typing import Any

import paired_steps
import pytest
import small_runs
import torch
import torch.multiprocessing as mp
from paired_steps import CASES, GRADIENT_STEPS, LONG_CASES, QUIET
from torch import Tensor


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    root = tmp_path_factory.mktemp("two")
    small_runs.write_material(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(paired_steps.work, (port, str(root)), nprocs=paired_steps.PROCESSES)
    return [
        torch.load(root / f"{rank}.pth", weights_only=False)
        for rank in range(paired_steps.PROCESSES)
    ]


@pytest.fixture(params=CASES)
def double(request: pytest.FixtureRequest, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the two processes say of one case."""
    return [result["double"][request.param] for result in results]


@pytest.mark.parametrize("iteration", GRADIENT_STEPS)
def test_gradients_are_those_of_one_process(double: list[dict[str, Any]], iteration: int) -> None:
    """To 1e-9 of each parameter's own gradient norm, in float64."""
    worst = double[0]["gradients"][iteration]
    assert len(worst) > 60
    # HRDA's context has a single key at this size, so that nothing depends on the queries.
    has_scales = "decode.hr.loss_seg" in double[0]["own"]["logged"][0]
    assert all(".attn.q." in name for name in double[0]["zeros"])
    assert bool(double[0]["zeros"]) == has_scales
    assert double[0]["dtypes"] == {"torch.float64"}
    assert max(worst.values()) < 1e-9, max(worst, key=lambda name: worst[name])


def test_weights_after_five_steps_are_those_of_one_process(double: list[dict[str, Any]]) -> None:
    """Student and teachers, to 1e-8 of each parameter's own norm."""
    worst = double[0]["values"]
    has_two = any("masked.decode.loss_seg" in logged for logged in double[0]["own"]["logged"])
    networks = {"model", "ema_model", "mic"} if has_two else {"model", "ema_model"}
    assert {name.split(".")[0] for name in worst} == networks
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


@pytest.mark.parametrize("case", LONG_CASES)
@pytest.mark.parametrize("network", ["student", "teachers", "moments"])
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


@pytest.mark.parametrize("case", LONG_CASES)
def test_batch_norm_is_local_until_its_statistics_are_shared(
    results: list[dict[str, Any]], case: str
) -> None:
    first, second = (result["long"][case] for result in results)
    assert not torch.equal(first["own statistics"], second["own statistics"])
    assert torch.equal(first["shared statistics"], first["own statistics"])
    assert torch.equal(second["shared statistics"], first["own statistics"])
