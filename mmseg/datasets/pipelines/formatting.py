"""Arrays -> tensors, and the choice of what leaves the pipeline."""

from collections.abc import Sequence

import numpy as np
import torch

from mmseg.config.registry import PIPELINES
from mmseg.datasets.pipelines.fields import Results

META_KEYS = (
    "filename",
    "ori_filename",
    "ori_shape",
    "img_shape",
    "pad_shape",
    "scale_factor",
    "flip",
    "flip_direction",
    "img_norm_cfg",
)
# Fields of a sample that leave the pipeline whenever they exist, whatever the config lists.
_ALWAYS_COLLECTED = ("depth", "valid_pseudo_mask")


@PIPELINES.register()
class DefaultFormatBundle:
    """Turn every field into a tensor.

    `img` becomes (3, H, W) float32, `gt_semantic_seg` (1, H, W) int64, `valid_pseudo_mask`
    (1, H, W) uint8 and `depth` (H, W) float32.
    """

    is_random = False

    def __call__(self, results: Results) -> Results:
        """Return the sample as tensors."""
        results = dict(results)
        if "img" in results:
            results["img"] = image_to_tensor(results["img"])
        if "gt_semantic_seg" in results:
            results["gt_semantic_seg"] = _tensor(results["gt_semantic_seg"][None], np.int64)
        if "valid_pseudo_mask" in results:
            results["valid_pseudo_mask"] = _tensor(results["valid_pseudo_mask"][None], np.uint8)
        if "depth" in results:
            results["depth"] = _tensor(results["depth"], np.float32)
        return results


@PIPELINES.register()
class ImageToTensor:
    """Turn the images named by `keys` into tensors (3, H, W)."""

    is_random = False

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)

    def __call__(self, results: Results) -> Results:
        """Return the sample with its images as tensors."""
        return {**results, **{key: image_to_tensor(results[key]) for key in self.keys}}


@PIPELINES.register()
class Collect:
    """Keep `keys`, gather `meta_keys` in `img_metas`, drop the rest.

    `depth` and `valid_pseudo_mask` are kept whenever the sample has them.
    """

    is_random = False

    def __init__(self, keys: Sequence[str], meta_keys: Sequence[str] = META_KEYS) -> None:
        self.keys = tuple(keys)
        self.meta_keys = tuple(meta_keys)

    def __call__(self, results: Results) -> Results:
        """Return what the batch needs."""
        for key in (*self.keys, *self.meta_keys):
            if key not in results:
                raise ValueError(
                    f"expected {key!r} in the sample at Collect, got {sorted(results)}. Add the "
                    f"pipeline step that makes it (RandomFlip makes 'flip') or drop the key."
                )
        extra = [k for k in _ALWAYS_COLLECTED if k in results and k not in self.keys]
        metas = {key: results[key] for key in self.meta_keys}
        return {"img_metas": metas, **{key: results[key] for key in (*self.keys, *extra)}}


def image_to_tensor(image: np.ndarray) -> torch.Tensor:
    """Return an image (H, W, C) or (H, W) as a tensor (C, H, W) of the same type."""
    channels_last = image if image.ndim == 3 else image[..., None]
    return torch.from_numpy(np.ascontiguousarray(channels_last.transpose(2, 0, 1)))


def _tensor(array: np.ndarray, dtype: type) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))
