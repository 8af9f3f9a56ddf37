"""Thing-class ImageNet feature distance (DAFormer, Hoyer et al. 2022, section 3.3).

Legend: B images, C classes, H×W pixels, h×w feature cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.datasets.labels import IGNORE
from mmseg.models.layers import at_least_single
from mmseg.models.segmentors.training_parts import FeatureView
from mmseg.system.device_copies import send
from mmseg.system.errors import ConfigError
from mmseg.system.processes import all_reduce_sum, world_size


def downscale_label(label: Tensor, cell: int, min_ratio: float, num_classes: int) -> Tensor:
    """Give each cell of cell×cell pixels its majority class: (B, 1, H // cell, W // cell) int64.

    `label` is (B, 1, H, W) int64; 255 competes as a class of its own. A cell gets 255 if its
    majority fills less than the share `min_ratio` of it.
    """
    one_hot = F.one_hot(label[:, 0].clamp(max=num_classes), num_classes + 1)
    share = F.avg_pool2d(one_hot.permute(0, 3, 1, 2).float(), cell)
    ratio, majority = share.max(1, keepdim=True)
    is_clear = (ratio >= min_ratio) & (majority < num_classes)
    return torch.where(is_clear, majority, IGNORE)


@dataclass(frozen=True)
class FeatureDistance:
    """λ times the mean L2 distance to the frozen ImageNet features, where things are."""

    weight: float  # λ
    classes: Sequence[int] | None  # trainIds of the things; None uses all pixels
    min_ratio: float | None  # see `downscale_label`; required with classes
    num_classes: int  # C

    def __post_init__(self) -> None:
        if self.classes is not None and self.min_ratio is None:
            raise ConfigError(
                "expected uda.imnet_feature_dist_scale_min_ratio with imnet_feature_dist_classes, "
                "got None. Set it (0.75 in DAFormer)."
            )

    def of_views(
        self, views: Sequence[FeatureView], imagenet: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the sum of the losses of the student's views (scales), and pictures of the first.

        `imagenet` is the frozen segmentor.
        """
        total, pictures = views[0].feature.new_zeros(()), {}
        for view in views:
            with torch.no_grad():
                theirs = imagenet.extract_feat(view.image)[-1]
            loss, shown = self(view.feature, theirs, view.label)
            total = total + loss
            pictures = pictures or shown
        return total, pictures

    def __call__(
        self, features: Tensor, imagenet_features: Tensor, label: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss, and pictures of where it was computed.

        The features are (B, K, h, w), the last level of each backbone; label (B, 1, H, W) int64.
        """
        difference = at_least_single(features) - at_least_single(imagenet_features)
        distance = difference.norm(dim=1)  # (B, h, w)
        if self.classes is None or self.min_ratio is None:
            return self.weight * distance.mean(), {}
        cell = label.shape[-1] // features.shape[-1]
        scaled = downscale_label(label, cell, self.min_ratio, self.num_classes)[:, 0]
        is_thing = np.isin(np.arange(self.num_classes + 1), self.classes)  # the last one is 255
        mask = send(is_thing, scaled.device)[scaled.clamp(max=self.num_classes)]
        # Each process holds its share of one mean over all processes. An empty mask gives 0.
        count = all_reduce_sum(mask.sum())  # int64
        total = (distance * mask).sum() * world_size()
        loss = self.weight * total / count.clamp(min=1)
        shown = mask.to(distance.dtype)
        return loss, {"feature_distance_label": scaled, "feature_distance_mask": shown}
