"""What the steps of a pipeline share: fields of a sample and its random numbers."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from mmseg.config.values import Pair

Scales = Pair | Annotated[Sequence[Pair], Field(min_length=1)]
Direction = Literal["horizontal", "vertical"]
Results = dict[str, Any]
ArrayMap = Callable[[np.ndarray], np.ndarray]
LABEL = "gt_semantic_seg"


def map_fields(results: Results, change: ArrayMap, label: ArrayMap | None = None) -> Results:
    """Return a copy of `results` with `change` applied to images and depth, `label` to labels."""
    fields = [*results.get("img_fields", ["img"]), *(["depth"] if "depth" in results else [])]
    changed = {key: change(results[key]) for key in fields}
    changed |= {key: (label or change)(results[key]) for key in results.get("seg_fields", [])}
    return {**results, **changed}


def shape_of(results: Results) -> tuple[int, ...]:
    """Return the shape of the image, or of the label where that is drawn alone."""
    return results["img" if "img" in results else LABEL].shape


def random_generator(results: Results) -> np.random.Generator:
    """Return the sample's generator, or one seeded from numpy's global state."""
    rng = results.get("rng")
    return np.random.default_rng(np.random.randint(1 << 31)) if rng is None else rng


def as_pair(value: Sequence[int]) -> tuple[int, int]:
    """Return a pair of numbers as a tuple."""
    first, second = value
    return first, second


def as_scales(value: Scales) -> list[tuple[int, int]]:
    """Return one (width, height), or a list of them, as a list of pairs."""
    pairs: Any = value if isinstance(value[0], Sequence) else [value]
    return [as_pair(pair) for pair in pairs]
