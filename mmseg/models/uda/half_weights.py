"""Weights in half precision, all at once.

Under autocast, the layers below see their weights in half precision. Autocast converts them one by
one (without gradients even at every use), and their gradients, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Place = tuple[nn.Module, str]  # a layer, and the name of its parameter


def halve(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert these weights for good: the network works under autocast to `dtype` alone."""
    for layer, name in _places(network):
        weight = layer._parameters[name]
        assert weight is not None
        weight.data = weight.data.to(dtype)


@contextmanager
def halved(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Let the network see these weights in half precision; without autocast, do nothing.

    Gradients arrive at the weights themselves. Networks that are compiled convert theirs inside.
    """
    kind = device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if not is_on or _is_compiled(network):
        yield
        return
    places = _places(network)
    whole: Any = [layer._parameters[name] for layer, name in places]
    half = Halved.apply(torch.get_autocast_dtype(kind), *whole)
    try:
        _put(places, half)
        yield
    finally:
        _put(places, whole)


class Halved(torch.autograd.Function):
    """Tensors in half precision, and their gradients in float32."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors in a type of half precision."""
        ctx.set_materialize_grads(False)
        return tuple(_converted(tensors, dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients that there are in float32."""
        found = iter(_converted([g for g in gradients if g is not None], torch.float32))
        return None, *(None if g is None else next(found) for g in gradients)


def _places(network: nn.Module) -> list[Place]:
    """Return where the weights are that autocast converts."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | _ConvNd)]
    named = [(layer, name) for layer in layers for name in layer._parameters]
    return [(layer, name) for layer, name in named if layer._parameters[name] is not None]


def _put(places: list[Place], tensors: Any) -> None:
    for (layer, name), tensor in zip(places, tensors, strict=True):
        layer._parameters[name] = tensor


def _converted(tensors: Any, dtype: torch.dtype) -> list[Tensor]:
    results = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    if results:
        torch._foreach_copy_(results, tensors)  # pyright: ignore[reportPrivateImportUsage]
    return results


def _is_compiled(network: nn.Module) -> bool:
    """Tell whether `torch.compile` has taken over a part of the network."""
    is_marked = getattr(network, "is_compiled", False)  # by who compiled functions of it
    return is_marked or any(part._compiled_call_impl is not None for part in network.modules())
