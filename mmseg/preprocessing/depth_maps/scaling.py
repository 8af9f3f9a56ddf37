"""Network output -> stored 8-bit levels: relative inverse depth, scaled per image.

Legend: B images, h×w network output, H×W image. Level 255 is the nearest pixel, 0 the farthest.
"""

import torch
from torch import Tensor
from torch.nn import functional

SCALING = "min-max per image to 0...255, truncated"
QUANTITIES = ("inverse", "metric")
# Meters. Depth below counts as this, so that one wrong pixel does not take nearly all levels.
NEAREST = 0.1


def upsample(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (B, h, w) to `size` (H, W), bilinearly with aligned corners, as (B, H, W) float32."""
    values = prediction.float()[:, None]  # (B, 1, h, w)
    return functional.interpolate(values, size, mode="bilinear", align_corners=True)[:, 0]


def nearness(values: Tensor, quantity: str) -> Tensor:
    """Return values that are large where it is near; what is not finite stays so."""
    if quantity == "inverse":
        return values
    near = values.clamp(min=NEAREST).reciprocal()
    return torch.where(values.isfinite(), near, torch.nan)


def to_stored(values: Tensor, is_valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scale each image from its smallest to its largest value to 0…255, and truncate.

    Computed as ``(values - min) / (max - min) * 255``, in float64 if `values` (B, H, W) are, else
    in float32. Pixels that are not valid have no part in it and become 0, as if they were far. So
    do a constant image and one with values that are not finite; (B,) bool tells which were finite.
    """
    values = values if values.dtype == torch.float64 else values.float()
    lowest = highest = values
    if is_valid is not None:
        lowest = values.masked_fill(~is_valid, torch.inf)
        highest = values.masked_fill(~is_valid, -torch.inf)
    low = lowest.amin(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    span = highest.amax(dim=(1, 2), keepdim=True) - low
    # NaN and infinite values reach the span. So does an image without a valid pixel: -inf.
    is_finite = span.isfinite()
    scaled = (values - low).div_(span).mul_(255)
    shows = is_finite & (span > 0)
    shows = shows if is_valid is None else shows & is_valid
    levels = torch.where(shows, scaled, 0).to(torch.uint8)
    return levels, is_finite[:, 0, 0]
