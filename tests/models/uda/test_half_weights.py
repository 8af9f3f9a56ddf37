"""Weights that are converted at once give what autocast makes of them, to the same bits."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

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


def parameters(network: Any) -> dict[str, Tensor]:
    """Return what the layers see."""
    named = network.named_modules()
    return {f"{n}.{key}": p for n, m in named for key, p in m._parameters.items()}


def gradients(
    network: nn.Module, uses: int, are_halved: bool, call: Callable[..., Any] | None = None
) -> list[Tensor]:
    """Return the gradients of the parameters, all of which the loss may use several times."""
    network.zero_grad(set_to_none=True)
    image = torch.linspace(-1, 1, 2 * 3 * 5 * 7).view(2, 3, 5, 7)
    context = halved(network, CPU) if are_halved else nullcontext()
    with torch.autocast("cpu", torch.bfloat16), context:
        loss = sum((call or network)(image + use).float().square().sum() for use in range(uses))
    assert isinstance(loss, Tensor)
    loss.backward()
    return [p.grad for p in network.parameters() if p.grad is not None]


def predict(network: nn.Module) -> tuple[Tensor, Conversions]:
    """Return the output for two images under autocast, and what was converted."""
    image = torch.linspace(-1, 1, 2 * 3 * 5 * 7).view(2, 3, 5, 7)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), Conversions() as conversions:
        return network(image), conversions


def test_outputs_are_those_of_autocast_and_weights_come_back(network: nn.Module) -> None:
    expected, one_by_one = predict(network)
    assert one_by_one.shapes[5, 60] == 1
    before = dict(network.named_parameters())
    with torch.autocast("cpu", torch.bfloat16), halved(network, CPU):
        found, conversions = predict(network)
        types = {name: p.dtype for name, p in parameters(network).items()}
    assert torch.equal(found, expected)
    assert conversions.shapes[5, 60] == 0
    halves = {name for name, dtype in types.items() if dtype == torch.bfloat16}
    assert halves == {"0.weight", "0.bias", "3.weight", "3.bias"}  # not those of norms
    after = dict(network.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is parameter for name, parameter in before.items())


@pytest.mark.parametrize("uses", [1, 2])
def test_gradients_are_those_of_autocast(network: nn.Module, uses: int) -> None:
    network.requires_grad_(True)
    found, expected = (gradients(network, uses, are_halved) for are_halved in (True, False))
    assert len(found) == len(expected) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


def test_activations_may_be_computed_again_in_the_backward_pass(network: nn.Module) -> None:
    """When the layers see whole weights again."""
    plain = gradients(network.requires_grad_(True), 1, are_halved=True)
    again = partial(checkpoint, network, use_reentrant=False)
    for ours, theirs in zip(gradients(network, 1, True, again), plain, strict=True):
        assert torch.equal(ours, theirs)


def test_unused_weights_get_no_gradient(network: Any) -> None:
    network.requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16), halved(network, CPU):
        loss = network[3](torch.ones(2, 60)).sum()
    loss.backward()
    used = {name for name, p in network.named_parameters() if p.grad is not None}
    assert used == {"3.weight", "3.bias"}


@pytest.mark.parametrize("is_marked", [False, True])
def test_compiled_networks_convert_their_own(network: Any, is_marked: bool) -> None:
    if is_marked:
        network.is_compiled = True
    else:
        network[3].compile(backend="eager")
    with torch.autocast("cpu", torch.bfloat16), halved(network, CPU):
        assert all(p.dtype == torch.float32 for p in parameters(network).values())


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
