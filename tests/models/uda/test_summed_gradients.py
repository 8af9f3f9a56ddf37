"""The gradients of several backward passes add up in few kernels, to the same bits."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg.models.uda.base import StepOutput, summed_gradients


class Operators(TorchDispatchMode):
    """Counts what torch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    sizes = ((3,), (2, 3), (5, 1, 7))
    return [nn.Parameter(torch.randn(size, generator=generator)) for size in sizes]


def losses(weights: list[nn.Parameter]) -> list[Tensor]:
    """Three losses; each misses another of the parameters, the second uses one of them twice."""
    a, b, c = weights
    terms = ((b * a).sin().sum(), (a.cos().sum() * c * c[:1]).sum(), (b.exp().sum() / 3) + b.sum())
    return list(terms)


def test_sums_are_those_of_autograd_bit_for_bit() -> None:
    ours, theirs = parameters(), parameters()
    for loss in losses(ours):
        StepOutput(parameters=ours).backward({"loss": loss})
    for loss in losses(theirs):
        loss.backward()
    for our, their in zip(ours, theirs, strict=True):
        assert our.grad is not None and their.grad is not None
        assert torch.equal(our.grad, their.grad)


def test_no_gradient_is_added_on_its_own() -> None:
    weights = parameters()
    with Operators() as operators, torch.autograd.set_multithreading_enabled(False):
        for _ in range(4):
            StepOutput(parameters=weights).backward({"loss": sum(w.sum() for w in weights)})
    assert operators.counts["aten._foreach_add_.List"] == 3
    assert operators.counts["aten.add_.Tensor"] == 0


def test_a_pass_that_fails_leaves_the_former_gradients() -> None:
    (weight,) = weights = parameters()[:1]
    former = weight.grad = torch.full_like(weight, 0.25)
    try:
        with summed_gradients(weights):
            raise ArithmeticError
    except ArithmeticError:
        assert weight.grad is former
        assert former.tolist() == [0.25] * 3
