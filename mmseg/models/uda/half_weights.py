"""Weights in half precision of networks that only predict.

Under autocast, the layers below see their weights in half precision. Those that learn are converted
once in an iteration; those without gradients at every use, one by one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd


def halved_weights(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights that autocast converts."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | _ConvNd)]
    named = {id(p): p for layer in layers for p in layer.parameters(recurse=False)}
    return list(named.values())


def halve(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert these weights for good: the network works under autocast to `dtype` alone."""
    for weight in halved_weights(network):
        weight.data = weight.data.to(dtype)


@contextmanager
def halved(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Convert these weights at once, as long as this lasts; without autocast, do nothing."""
    if not torch.is_autocast_enabled(device.type):
        yield
        return
    weights = halved_weights(network)
    whole = [weight.data for weight in weights]
    dtype = torch.get_autocast_dtype(device.type)
    half = [torch.empty_like(each, dtype=dtype) for each in whole]
    torch._foreach_copy_(half, whole)  # pyright: ignore[reportPrivateImportUsage]
    try:
        for weight, data in zip(weights, half, strict=True):
            weight.data = data
        yield
    finally:
        for weight, data in zip(weights, whole, strict=True):
            weight.data = data
