"""Labels and depth on their way from the loader's workers to the device: as bytes.

They take an eighth and a quarter of the memory, of what is copied between processes and of what is
sent to the device, where they get their types back.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

TYPES = {
    "gt_semantic_seg": torch.int64,
    "depth": torch.float32,
    "target_depth": torch.float32,
}


def narrowed(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch with uint8 maps in place of those that hold nothing but 0, 1, … 255.

    Resized depth has fractions, a label of a user's own may be negative: these stay as they are.
    """
    return {
        key: _narrowed(value) if is_typed(key, value) else value for key, value in batch.items()
    }


def widened(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch with its maps in the types that `narrowed` found, on their device."""
    return {
        key: value.to(TYPES[key]) if is_narrow(key, value) else value
        for key, value in batch.items()
    }


def is_typed(key: str, value: Any) -> bool:
    """Tell whether a field of a batch is a map in its type."""
    return isinstance(value, Tensor) and value.dtype == TYPES.get(key)


def is_narrow(key: str, value: Any) -> bool:
    """Tell whether a field of a batch is a map of bytes."""
    return key in TYPES and isinstance(value, Tensor) and value.dtype == torch.uint8


def _narrowed(values: Tensor) -> Tensor:
    narrow = values.to(torch.uint8)
    return narrow if torch.equal(narrow.to(values.dtype), values) else values
