"""Arrays -> tensors, and which fields leave the pipeline."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from mmseg.config.registry import PIPELINES
from mmseg.datasets.pipelines.fields import Results

META_KEYS = (
    "filename", "ori_filename", "ori_shape", "img_shape", "pad_shape", "scale_factor",
    "flip", "flip_direction", "img_norm_cfg",
)  # fmt: skip
Names = Annotated[Sequence[str], Field(min_length=1)]
ALWAYS_COLLECTED = ("depth", "valid_pseudo_mask")  # kept even if the config does not list them


@PIPELINES.register()
class DefaultFormatBundle:
    """Turn every field into a tensor.

    `img` becomes (3, H, W) float32, `gt_semantic_seg` (1, H, W) int64, `valid_pseudo_mask`
    (1, H, W) uint8 and `depth` (H, W) float32.
    """

    is_random = False

    def __call__(self, results: Results) -> Results:
        """Return the sample as tensors."""
        converters = {
            "img": image_to_tensor,
            "gt_semantic_seg": lambda label: _tensor(label[None], np.int64),
            "valid_pseudo_mask": lambda mask: _tensor(mask[None], np.uint8),
            "depth": lambda depth: _tensor(depth, np.float32),
        }
        return results | {k: to(results[k]) for k, to in converters.items() if k in results}


@PIPELINES.register()
class ImageToTensor:
    """Turn the images at `keys` into tensors (3, H, W)."""

    is_random = False

    def __init__(self, keys: Names) -> None:
        self.keys = tuple(keys)

    def __call__(self, results: Results) -> Results:
        """Return the sample with its images as tensors."""
        _require(self.keys, results, "ImageToTensor")
        return {**results, **{key: image_to_tensor(results[key]) for key in self.keys}}


@PIPELINES.register()
class Collect:
    """Keep `keys`, `depth` and `valid_pseudo_mask`; gather `meta_keys` in `img_metas`."""

    is_random = False

    def __init__(self, keys: Names, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.keys, self.meta_keys = tuple(keys), tuple(meta_keys)

    def __call__(self, results: Results) -> Results:
        """Return what the batch needs."""
        _require((*self.keys, *self.meta_keys), results, "Collect")
        extra = [k for k in ALWAYS_COLLECTED if k in results and k not in self.keys]
        metas = {key: results[key] for key in self.meta_keys}
        return {"img_metas": metas, **{key: results[key] for key in (*self.keys, *extra)}}


def _require(keys: Iterable[str], results: Results, step: str) -> None:
    for key in keys:
        if key not in results:
            raise ValueError(
                f"expected {key!r} in the sample at {step}, got {sorted(results)}. Add the "
                f"pipeline step that makes it (RandomFlip makes 'flip') or drop the key."
            )


def image_to_tensor(image: np.ndarray) -> torch.Tensor:
    """Return an image (H, W, C) or (H, W) as a tensor (C, H, W) of the same type."""
    channels_last = image if image.ndim == 3 else image[..., None]
    return torch.from_numpy(np.ascontiguousarray(channels_last.transpose(2, 0, 1)))


def _tensor(array: np.ndarray, dtype: type) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))
