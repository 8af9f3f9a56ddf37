"""The EMA teacher and its pseudo-labels.

Legend: B images, C classes, H×W pixels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.models.layers import at_least_single, is_random_layer
from mmseg.models.uda.half_weights import halved
from mmseg.system.processes import all_reduce_mean


@dataclass(frozen=True)
class PseudoLabel:
    """The teacher's labels for a batch of target images."""

    label: Tensor  # (B, H, W) int64 class
    weight: Tensor  # (B, H, W) float in [0, 1]
    confident: Tensor  # (B, H, W) bool, probability at or above the threshold


def teacher_alpha(iteration: int, alpha: float) -> float:
    """Return α of an iteration: min(1 - 1/(t+1), α), which is 0 (a copy of the student) at first.

    >>> [round(teacher_alpha(t, 0.9), 2) for t in (0, 1, 3, 50)]
    [0.0, 0.5, 0.75, 0.9]
    """
    return min(1 - 1 / (iteration + 1), alpha)


class Teacher:
    """An exponential moving average of the student that labels target images.

    The network stays in train mode (it uses batch statistics and updates its own buffers), but
    without dropout and stochastic depth. It never gets gradients. It belongs to the state of the
    training method.

    Args:
        network: like the student.
        alpha: the largest share that the teacher keeps of itself in an iteration.
        threshold: the lowest probability of a confident pixel; None trusts every pixel fully.
        is_mirrored: label with the mean of the probabilities of an image and of its mirror image,
            and start with the student's buffers, too (VFM-UDA).
        is_shared: the share of confident pixels is that of all processes, not of this one alone.
    """

    def __init__(
        self,
        network: nn.Module,
        alpha: float,
        threshold: float | None,
        is_mirrored: bool = False,
        is_shared: bool = True,
    ) -> None:
        self.network: Any = network.requires_grad_(False)
        self.alpha, self.threshold = alpha, threshold
        self.is_mirrored, self.is_shared = is_mirrored, is_shared
        self.train()

    @torch.no_grad()
    def update(self, student: nn.Module, iteration: int) -> None:
        """Move the parameters (not the buffers) toward the student's: θ' ← αθ' + (1-α)θ."""
        if iteration == 0 and self.is_mirrored:
            self.network.load_state_dict(student.state_dict())
        ours: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(student.parameters())
        alpha = teacher_alpha(iteration, self.alpha)
        if alpha == 0:
            torch._foreach_copy_(ours, theirs)  # pyright: ignore[reportPrivateImportUsage]
        else:
            share = 1 - alpha
            torch._foreach_lerp_(ours, theirs, share)  # pyright: ignore[reportPrivateImportUsage]

    def train(self) -> None:
        """Set the mode in which the network labels."""
        self.network.train()
        for module in self.network.modules():
            if is_random_layer(module):
                module.eval()

    @torch.no_grad()
    def label(self, image: Tensor, metas: list[dict[str, Any]]) -> PseudoLabel:
        """Label (B, 3, H, W) target images.

        The weight is the share of confident pixels in the batch over all processes, the same for
        every pixel (DACS, eq. 4); without a threshold it is 1.
        """
        with halved(self.network, image.device):
            probability, label = self._probabilities(image, metas).max(1)
        if self.threshold is None:
            confident = torch.ones_like(label, dtype=torch.bool)
            return PseudoLabel(label, torch.ones_like(probability), confident)
        confident = probability >= self.threshold
        share = confident.to(probability.dtype).mean()
        share = all_reduce_mean(share) if self.is_shared else share
        return PseudoLabel(label, share.expand(label.shape), confident)

    def _probabilities(self, image: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        """Return those of the classes, (B, C, H, W)."""
        logits = self.network.generate_pseudo_label(image, metas)
        probabilities = at_least_single(logits).softmax(1)
        if not self.is_mirrored:
            return probabilities
        mirrored = self.network.generate_pseudo_label(image.flip(3), metas).flip(3)
        return (probabilities + at_least_single(mirrored).softmax(1)) / 2
