"""Keep numbers that decisions depend on out of half precision."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_single(tensor: Tensor) -> Tensor:
    """Return a float16 or bfloat16 tensor as float32, and any other as it is.

    Autocast leaves some results of a forward pass in half precision. A threshold of 0.968 or a
    distance between features needs more digits.

    >>> at_least_single(torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def is_autocast(device: torch.device) -> bool:
    """Tell whether autocast is on for a device; the meta device has none."""
    has_some = torch.amp.is_autocast_available(device.type)
    return has_some and torch.is_autocast_enabled(device.type)


def in_autocast_dtype(tensor: Tensor) -> Tensor:
    """Return a tensor as autocast would give it to a matrix product; as it is, without autocast.

    For what several products read: autocast would convert it for each of them.
    """
    device = tensor.device
    return tensor.to(torch.get_autocast_dtype(device.type)) if is_autocast(device) else tensor


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off; the meta device has none to switch."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
