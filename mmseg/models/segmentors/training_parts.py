"""What training methods and segmentors hand to each other.

Legend: N images, K channels, H×W pixels, h×w feature cells.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from mmseg.models.layers import Box
from mmseg.system.errors import ConfigError


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


def output_names(network: Any) -> dict[str, str]:
    """Return the prefixes of a network's logits by the names of its outputs, `main` and `aux`."""
    prefixes = ["decode", *network.auxiliary_heads()]
    if len(prefixes) > 2:
        raise ConfigError(
            f"expected at most one auxiliary head for this training method, got "
            f"{len(prefixes) - 1}. Remove the others from model.auxiliary_head."
        )
    return dict(zip(("main", "aux"), prefixes, strict=False))
