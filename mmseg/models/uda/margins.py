"""Where pseudo-labels count: not at image borders, on the ego vehicle, or on padding."""

from dataclasses import replace

import torch
from torch import Tensor

from mmseg.models.uda.base import UDABatch
from mmseg.system.errors import ConfigError


def trusted_pixels(data: UDABatch, top: int, bottom: int) -> Tensor:
    """Return (B, H, W) of 0/1, to be multiplied with pseudo-label weights.

    `top` and `bottom` rows of every crop are not trusted; a `valid_pseudo_mask` replaces both.
    """
    if data.valid_pseudo_mask is not None and (top or bottom):
        raise ConfigError(
            "expected either uda.pseudo_weight_ignore_top/bottom or crop_pseudo_margins of the "
            "target dataset, got both; remove one."
        )
    if data.valid_pseudo_mask is not None:
        return data.valid_pseudo_mask[:, 0].to(data.target_image.dtype)
    batch, _, height, width = data.target_image.shape
    trust = data.target_image.new_ones(batch, height, width)
    trust[:, :top] = 0
    trust[:, height - bottom :] = 0
    for image_trust, meta in zip(trust, data.target_metas, strict=False):
        inner_height, inner_width = meta.get("img_shape", (height, width))[:2]
        image_trust[inner_height:] = 0  # padding
        image_trust[:, inner_width:] = 0
    return trust


def with_unflipped_margins(data: UDABatch) -> UDABatch:
    """Undo the flips of `valid_pseudo_mask`, but not of its images, as VFM-UDA's code does (V1)."""
    if data.valid_pseudo_mask is None:
        return data
    masks = list(data.valid_pseudo_mask)  # (1, H, W) each
    for i, meta in enumerate(data.target_metas):
        if meta.get("flip"):
            masks[i] = masks[i].flip(1 if meta.get("flip_direction") == "vertical" else 2)
    return replace(data, valid_pseudo_mask=torch.stack(masks))
