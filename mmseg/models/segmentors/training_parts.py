"""What training methods and segmentors hand to each other.

Legend: N images, K channels, H×W pixels, h×w feature cells.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mmseg.models.layers import Box
from mmseg.models.segmentors.joint_features import joint_features
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


@dataclass(frozen=True)
class HRDAFeatures:
    """The features of both scales, and where the detail was cut from the image."""

    context: list[Tensor]
    detail: list[Tensor]
    box: Box


def random_box(height: int, width: int, crop_size: tuple[int, int], divisible: int) -> Box:
    """Draw a window from torch's random numbers; its offsets are multiples of `divisible`."""
    offsets = [0, 0]
    for axis, (length, crop) in enumerate(zip((height, width), crop_size, strict=True)):
        choices = (max(length - crop, 0) + 1) // divisible
        if choices > 1:
            offsets[axis] = divisible * int(torch.randint(choices, (), device="cpu"))
    (y, x), (rows, columns) = offsets, crop_size
    return y, y + rows, x, x + columns


def masked_feat(network: Any, img: Tensor, keep_mask: Tensor) -> list[Tensor]:
    """Return what `network.extract_feat(img)` does, with parts of the image hidden.

    `keep_mask` (N, 1, h, w) is 0 there, and 1 elsewhere; the backbone decides of what. Raises
    `ConfigError` for backbones without this.
    """
    backbone = network.backbone
    if "keep_mask" not in inspect.signature(backbone.forward).parameters:
        raise ConfigError(
            "expected a backbone that hides parts of the image itself (TIMMBackbone, ViTAdapter), "
            f"got {type(backbone).__name__}. Use one of these, or a mask of the image's pixels."
        )
    features = backbone(img, keep_mask=keep_mask)
    return features if network.neck is None else network.neck(features)


class TrainingOutputs:
    """What training methods ask a network for, besides losses."""

    def train_features(self: Any, img: Tensor, keep_mask: Tensor | None) -> list[Tensor]:
        """Return the feature maps of (N, 3, H, W) images, of which parts may be hidden."""
        return self.extract_feat(img) if keep_mask is None else masked_feat(self, img, keep_mask)

    def joint_features(
        self: Any, images: Sequence[Tensor], draws: BoxDraws | None = None
    ) -> Sequence[Any]:
        """Return `features` of `forward_train` for several batches (N, 3, H, W), from one pass."""
        return joint_features(self, *images)

    def train_logits(
        self: Any,
        img: Tensor,
        img_metas: Any = None,
        draws: BoxDraws | None = None,
        features: Any = None,
    ) -> Tensor:
        """Return the logits (N, C, h, w) that `forward_train` computes its loss from."""
        if features is None:
            return self.encode_decode(img, img_metas, upscale_pred=False)
        return self.decode_head.forward_test(features, img_metas, self.test_cfg)

    def train_outputs(
        self: Any, img: Tensor, img_metas: Any = None, draws: BoxDraws | None = None
    ) -> dict[str, Tensor]:
        """Return the logits (N, C, h, w) of all heads, named as by `forward_train`."""
        features = self.extract_feat(img)
        heads = {"decode": self.decode_head, **self.auxiliary_heads()}
        arguments = (features, img_metas, self.test_cfg)
        return {f"{name}.logits": head.forward_test(*arguments) for name, head in heads.items()}

    def at_output_size(self: Any, logits: Tensor, img: Tensor) -> Tensor:
        """Resize logits to where methods compare those of two images: the size of the image."""
        return self._upscale(logits, img)


def output_names(network: Any) -> dict[str, str]:
    """Return the prefixes of a network's logits by the names of its outputs, `main` and `aux`."""
    prefixes = ["decode", *network.auxiliary_heads()]
    if len(prefixes) > 2:
        raise ConfigError(
            f"expected at most one auxiliary head for this training method, got "
            f"{len(prefixes) - 1}. Remove the others from model.auxiliary_head."
        )
    return dict(zip(("main", "aux"), prefixes, strict=False))
