"""Network output -> stored 8-bit levels.

Legend: B images, h×w network output, H×W image. A stored level is relative inverse depth, scaled
per image: 255 is the nearest pixel, 0 the farthest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SCALING = "min-max per image to 0...255, truncated"
QUANTITIES = ("inverse", "metric")
# Meters. Depth below counts as this, so that one wrong pixel does not take nearly all levels.
NEAREST = 0.1


@dataclass(frozen=True)
class Stored:
    """What is written of B images.

    levels: (B, H, W) uint8; is_finite: (B,) bool on the same device. Where it is False, the values
    could not be scaled and all levels of the image are 0.
    """

    levels: Tensor
    is_finite: Tensor


def upsample(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring (B, h, w) to `size` (H, W), bilinearly with aligned corners, as (B, H, W) float32."""
    values = prediction.float()[:, None]  # (B, 1, h, w)
    return functional.interpolate(values, size, mode="bilinear", align_corners=True)[:, 0]


def nearness(values: Tensor, quantity: str) -> Tensor:
    """Return values that are large where it is near, of any shape.

    Args:
        values: inverse depth, or depth in meters.
        quantity: 'inverse' (nothing to do) or 'metric' (1 / depth, of at least 0.1 m). Values that
            are not finite stay so.

    >>> nearness(torch.tensor([0.0, 0.5, 4.0]), "metric").tolist()
    [10.0, 2.0, 0.25]
    """
    require_quantity(quantity)
    if quantity == "inverse":
        return values
    near = values.clamp(min=NEAREST).reciprocal()
    return torch.where(values.isfinite(), near, torch.nan)


def to_stored(values: Tensor, is_valid: Tensor | None = None) -> Stored:
    """Scale each image from its smallest to its largest value to 0…255, and truncate.

    A constant image becomes 0. Computed as ``(values - min) / (max - min) * 255``, in float64 if
    `values` are, else in float32.

    Args:
        values: (B, H, W), large is near.
        is_valid: (B, H, W) bool. Pixels where it is False have no part in minimum and maximum and
            become 0, as if they were far.
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
    return Stored(levels, is_finite[:, 0, 0])


def require_quantity(quantity: str) -> None:
    """Raise unless `quantity` is one of `QUANTITIES`."""
    if quantity not in QUANTITIES:
        raise ValueError(
            f"expected the quantity 'inverse' or 'metric', got {quantity!r}; do say 'metric' for "
            "maps in meters, and 'inverse' for maps whose large values are near."
        )
