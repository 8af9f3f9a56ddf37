"""Weights that are converted at once give what autocast makes of them, to the same bits."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg.models.uda.half_weights import halve, halved

CPU = torch.device("cpu")


class Conversions(TorchDispatchMode):
    """Counts what is converted, by shape."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten._to_copy.default:
            self.shapes[tuple(args[0].shape)] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(60, 5), nn.LayerNorm(5)
    return nn.Sequential(*layers).requires_grad_(False)


def predict(network: nn.Module) -> tuple[Tensor, Conversions]:
    """Return the output for two images under autocast, and what was converted."""
    image = torch.linspace(-1, 1, 2 * 3 * 5 * 7).view(2, 3, 5, 7)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), Conversions() as conversions:
        return network(image), conversions


def test_outputs_are_those_of_autocast_and_weights_come_back(network: nn.Module) -> None:
    expected, one_by_one = predict(network)
    assert one_by_one.shapes[5, 60] == 1
    before = {name: (p.data_ptr(), p.dtype) for name, p in network.named_parameters()}
    with torch.autocast("cpu", torch.bfloat16), halved(network, CPU):
        found, conversions = predict(network)
        types = {name: p.dtype for name, p in network.named_parameters()}
    assert torch.equal(found, expected)
    assert conversions.shapes[5, 60] == 0
    halves = {name for name, dtype in types.items() if dtype == torch.bfloat16}
    assert halves == {"0.weight", "0.bias", "3.weight", "3.bias"}  # not those of norms
    assert {name: (p.data_ptr(), p.dtype) for name, p in network.named_parameters()} == before


def test_without_autocast_nothing_happens(network: nn.Module) -> None:
    with halved(network, CPU):
        assert all(p.dtype == torch.float32 for p in network.parameters())


def test_weights_come_back_after_an_error(network: nn.Module) -> None:
    with (
        pytest.raises(ArithmeticError),
        torch.autocast("cpu", torch.bfloat16),
        halved(network, CPU),
    ):
        raise ArithmeticError
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_weights_that_are_halved_for_good_give_the_same(network: nn.Module) -> None:
    expected, _ = predict(network)
    halve(network, torch.bfloat16)
    found, conversions = predict(network)
    assert torch.equal(found, expected)
    assert conversions.shapes[5, 60] == 0
