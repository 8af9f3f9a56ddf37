"""What training methods and segmentors hand to each other.

Legend: N images, K channels, H×W pixels, h×w feature cells.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mmseg.models.layers import Box


class BoxDraws(Protocol):
    """The random choices that a segmentor makes in training."""

    def crop_box(self, height: int, width: int, crop_size: tuple[int, int], divisible: int) -> Box:
        """Draw a window of `crop_size` in an image; its offsets are multiples of `divisible`."""
        ...


@dataclass(frozen=True)
class FeatureView:
    """A feature map, and the image that another backbone must see to be compared with it."""

    feature: Tensor  # (N, K, h, w), the last level
    image: Tensor  # (N, 3, H, W), input of the other backbone
    label: Tensor  # (N, 1, H', W') int64 of the same picture; may be finer than the image
