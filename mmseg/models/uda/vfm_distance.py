"""Distance of the student's features to those of a frozen foundation model (VFM-UDA++).

Legend: B images, C and K channels of the student's and the frozen features, H×W pixels, h×w cells.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.config.registry import BACKBONES
from mmseg.models.layers import ChannelNorm, at_least_single, resize
from mmseg.models.uda.passes import StudentPasses
from mmseg.models.uda.settings import DACSSettings, VFMDistanceKeys
from mmseg.models.uda.views import Views
from mmseg.system.errors import ConfigError

SMOOTH, ANGLE = 0.1, 0.9  # shares of the two distances
WIDER = 4  # times C, inside the projection


def cell_distance(projected: Tensor, frozen: Tensor) -> Tensor:
    """Return (B, h, w): 0.1 · smooth L1, the mean of the channels, and 0.9 · (1 - cosine).

    >>> bool(cell_distance(torch.ones(1, 2, 1, 1), torch.ones(1, 2, 1, 1)) < 1e-6)
    True
    """
    projected, frozen = at_least_single(projected), at_least_single(frozen)
    smooth = F.smooth_l1_loss(projected, frozen, reduction="none").mean(1)
    return SMOOTH * smooth + ANGLE * (1 - F.cosine_similarity(projected, frozen, dim=1))


class VFMDistance(nn.Module):
    """Keep the student's coarsest features near those of a frozen ViT, on source and target.

    `encoder` never learns and is not saved; `feat_project`, which maps the student's features to
    the encoder's, learns with the student. Testing needs neither.

    Args:
        settings: of the method, with `vfm_feature_dist`.
        views: of the method's images.
        student: the network in training.
    """

    def __init__(self, settings: DACSSettings, views: Views, student: Any) -> None:
        super().__init__()
        channels = _channels_of(student)
        keys = VFMDistanceKeys(**(settings.vfm_feature_dist or {}))
        self.views = views
        self.weights = {"src": keys.weight_source}
        if not settings.source_only:
            self.weights["tgt"] = keys.weight_target
        self.encoder: Any = BACKBONES.build(
            {
                "type": "TIMMBackbone",
                "model_name": keys.model_name,
                "pretrained": keys.pretrained,
                "inner_size": keys.size,
                "model_kwargs": keys.model_kwargs,
                "final_norm": True,
                "freeze": True,
            }
        )
        width = WIDER * channels
        self.feat_project = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            ChannelNorm(width),
            nn.GELU(),
            nn.Conv2d(width, self.encoder.feature_channels[-1], 1),
        )

    def describe(self) -> list[str]:
        """Tell to whose features the distance is."""
        s = self.encoder.settings
        domains = {"src": "source", "tgt": "target"}
        weights = ", ".join(f"{w} on the {domains[d]}" for d, w in self.weights.items())
        return [
            f"Distance to the features of {s.model_name} "
            f"({s.pretrained or 'RANDOM weights, allows_random=True'}): {weights}"
        ]

    def init_weights(self) -> None:
        """Load the frozen weights."""
        self.encoder.init_weights()

    def train_on(self, passes: StudentPasses) -> None:
        """Train on the distances of the weakly jittered images, source first."""
        step, data = passes.step, passes.step.data
        images = {
            "src": (data.image, self.views.weak_source),
            "tgt": (data.target_image, self.views.target),
        }
        for domain, weight in self.weights.items():
            if weight > 0:
                image, view = images[domain]
                seen = view(step)
                passes.train(seen, partial(self._losses, domain, passes.student, seen, image))

    def _losses(
        self, domain: str, student: Any, view: Tensor, image: Tensor, features: Any = None
    ) -> dict[str, Tensor]:
        features = student.extract_feat(view) if features is None else features
        loss = self.weights[domain] * self.distance(student, features, image)
        return {f"{domain}.loss_vfm_feat_dist": loss}

    def distance(self, student: Any, features: Any, image: Tensor) -> Tensor:
        """Return the mean distance over all cells.

        Args:
            student: its head sees the features, though nothing is made of its output: every pass
                in training counts for its batch norms.
            features: of the student, on a jittered view of the image.
            image: (B, 3, H, W) as it comes, seen by the encoder.
        """
        with torch.no_grad():
            student.decode_head.forward_test(features)
            frozen = self.encoder(image)[-1]  # (B, K, h, w)
        projected = resize(self.feat_project(features[-1]), tuple(frozen.shape[2:]))
        return cell_distance(projected, frozen).mean()


def _channels_of(student: Any) -> int:
    """Return C; `ConfigError` for a network whose features have no order from fine to coarse."""
    backbone = student.backbone
    if not hasattr(backbone, "feature_channels") or hasattr(student, "hr_crop_size"):
        raise ConfigError(
            "expected a network of one scale with a TIMMBackbone or a ViTAdapter for "
            f"uda.vfm_feature_dist, got {type(student).__name__} with {type(backbone).__name__}. "
            "Use one, or set uda.vfm_feature_dist=None."
        )
    return backbone.feature_channels[-1]
