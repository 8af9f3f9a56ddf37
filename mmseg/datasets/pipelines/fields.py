"""What the steps of a pipeline share: fields of a sample and its random numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

Results = dict[str, Any]
ArrayMap = Callable[[np.ndarray], np.ndarray]


def map_fields(results: Results, change: ArrayMap, label: ArrayMap | None = None) -> Results:
    """Return a copy of `results` with `change` applied to images and depth, `label` to labels."""
    fields = [*results.get("img_fields", ["img"]), *(["depth"] if "depth" in results else [])]
    changed = {key: change(results[key]) for key in fields}
    changed |= {key: (label or change)(results[key]) for key in results.get("seg_fields", [])}
    return {**results, **changed}


def random_generator(results: Results) -> np.random.Generator:
    """Return the sample's generator, or one seeded from numpy's global state."""
    rng = results.get("rng")
    return np.random.default_rng(np.random.randint(1 << 31)) if rng is None else rng


def as_pair(value: Any, name: str) -> tuple[int, int]:
    """Return `value` as two positive integers or raise `ValueError`."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if len(pair) != 2 or not all(isinstance(v, int) and v > 0 for v in pair):
        raise ValueError(f"expected {name} as two positive integers, got {value!r}.")
    return pair


def as_scales(value: Any, name: str) -> list[tuple[int, int]]:
    """Return one (width, height), or a list of them, as a list of pairs."""
    is_list = isinstance(value, (list, tuple)) and any(isinstance(v, (list, tuple)) for v in value)
    return [as_pair(scale, name) for scale in (value if is_list else [value])]
