"""What the steps of a pipeline share: the sample's fields and its random numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

Results = dict[str, Any]
ArrayMap = Callable[[np.ndarray], np.ndarray]


def map_fields(results: Results, image: ArrayMap, label: ArrayMap, depth: ArrayMap) -> Results:
    """Apply one function to each kind of field and return the changed copy of `results`."""
    changed = dict(results)
    for key in results.get("img_fields", ["img"]):
        changed[key] = image(results[key])
    for key in results.get("seg_fields", []):
        changed[key] = label(results[key])
    if "depth" in results:
        changed["depth"] = depth(results["depth"])
    return changed


def random_generator(results: Results) -> np.random.Generator:
    """Return the sample's generator; without one, make one from numpy's global state."""
    rng = results.get("rng")
    return np.random.default_rng(np.random.randint(1 << 31)) if rng is None else rng


def as_pair(value: Any, name: str) -> tuple[int, int]:
    """Return `value` as two positive integers or raise `ValueError`."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
        raise ValueError(f"expected {name} as two positive integers, got {value!r}.")
    return pair


def as_scales(value: Any, name: str) -> list[tuple[int, int]]:
    """Return one (width, height) or a list of them as a list of pairs."""
    is_list_of_pairs = isinstance(value, (list, tuple)) and any(
        isinstance(v, (list, tuple)) for v in value
    )
    return [as_pair(scale, name) for scale in (value if is_list_of_pairs else [value])]
