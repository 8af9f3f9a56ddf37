"""Entropy minimization (MinEnt, Vu et al. 2019): be certain about the target, too.

Legend: B images, C classes, H×W pixels.
"""

import math

from torch import Tensor

from mmseg.config.registry import UDA
from mmseg.models.uda.base import Step
from mmseg.models.uda.output_alignment import OutputAlignment, Outputs
from mmseg.models.uda.settings import MinEntSettings


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the pixels of (B, C, H, W) logits, as a share of the largest.

    That is -Σ p·log p / (B·H·W·log C), in [0, 1].

    >>> import torch
    >>> mean_entropy(torch.zeros(1, 4, 2, 3)).item()
    1.0
    """
    log = logits.log_softmax(1)
    return -(log.exp() * log).sum(1).mean() / math.log(logits.shape[1])


@UDA.register(inert=("debug_img_interval",))
class MinEnt(OutputAlignment):
    """Minimize the entropy of the target's outputs.

    The keys of its config are those of `MinEntSettings`.
    """

    settings_class = MinEntSettings

    def align(self, step: Step, target: Outputs) -> dict[str, Tensor]:
        """Return the weighted mean entropy of each output."""
        weights = self.weights(self.settings.lambda_ent)
        return {f"ent.loss.{k}": weights[k] * mean_entropy(v) for k, v in target.items()}
