"""Turn normalized network inputs back into pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mmseg.datasets.pipelines.photometric import IMAGENET


def denormalize(img: torch.Tensor, img_norm_cfg: Mapping[str, Any] | None) -> np.ndarray:
    """Return the (H, W, 3) uint8 BGR pixels that `Normalize` turned into `img` (3, H, W).

    Exact for unchanged training images: rounding removes the float32 error, which is far below
    half a gray level. Padding (0 after normalization) becomes the rounded mean color. Without
    `img_norm_cfg`, ImageNet's constants count.
    """
    img_norm_cfg = img_norm_cfg or IMAGENET
    mean = np.asarray(img_norm_cfg["mean"], np.float64)
    std = np.asarray(img_norm_cfg["std"], np.float64)
    normalized = img.detach().float().cpu().numpy().transpose(1, 2, 0)  # (H, W, 3)
    pixels = np.rint(normalized * std + mean).clip(0, 255).astype(np.uint8)
    if img_norm_cfg.get("to_rgb", True):
        pixels = pixels[..., ::-1]
    return np.ascontiguousarray(pixels)
