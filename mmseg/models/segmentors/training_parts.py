"""What training methods and segmentors hand to each other.

Legend: N images, K channels, H×W pixels, h×w feature cells. Boxes are (y1, y2, x1, x2), ends
exclusive.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Box = tuple[int, int, int, int]


class BoxDraws(Protocol):
    """The random choices that a segmentor makes in training."""

    def crop_box(self, height: int, width: int, crop_size: tuple[int, int], divisible: int) -> Box:
        """Draw a window of `crop_size` in an image; its offsets are multiples of `divisible`."""
        ...


@dataclass(frozen=True)
class FeatureView:
    """A feature map and what another backbone needs to see to be compared with it."""

    feature: Tensor  # (N, K, h, w), the last level
    image: Tensor  # (N, 3, H, W), to be sent through the other backbone as it is
    label: Tensor  # (N, 1, H', W') int64 of the same picture; may be finer than the image


def cut(x: Tensor, box: Box) -> Tensor:
    """Return the part of (..., H, W) that lies in a box."""
    y1, y2, x1, x2 = box
    return x[..., y1:y2, x1:x2]
