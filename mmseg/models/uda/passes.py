"""The passes of the student in an iteration: one by one, or as one.

Legend: B images of a pass, H×W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmseg.models.layers import is_batch_independent
from mmseg.models.uda.base import Step
from mmseg.models.uda.half_weights import halved
from mmseg.system.errors import ConfigError

Losses = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Pass:
    """Images for the student, and what it is trained on there."""

    image: Tensor  # (B, 3, H, W), as the student sees them
    losses: Losses  # of `features` if there are any, else of the image
    prefix: str  # of the losses in the log


class StudentPasses:
    """Trains the student on batches of images whose losses are independent of each other.

    One by one, each is back-propagated when it is added, which frees its activations before the
    next. Jointly, `finish` lets the backbone see the images of all as one batch and back-propagates
    the sum: as few kernels as for one, with the activations of all in memory.
    """

    def __init__(self, student: Any, step: Step, are_joint: bool = False) -> None:
        self.student, self.step, self.are_joint = student, step, are_joint
        self._waiting: list[Pass] = []

    def train(self, image: Tensor, losses: Losses, prefix: str = "") -> None:
        """Add the gradients of the losses on images (B, 3, H, W), now or when `finish` is called.

        `losses` takes `features` of the images by name, or nothing and computes its own.
        """
        if self.are_joint:
            self._waiting.append(Pass(image, losses, prefix))
            return
        with halved(self.student, image.device):
            found = losses()
        self.step.output.backward(found, prefix)

    def finish(self) -> None:
        """Add the gradients that are still missing."""
        if not self._waiting:
            return
        images = [each.image for each in self._waiting]
        losses: dict[str, Any] = {}
        with halved(self.student, images[0].device):
            all_features = self.student.joint_features(images, self.step.draws)
            for each, features in zip(self._waiting, all_features, strict=True):
                values = each.losses(features=features)
                losses |= {each.prefix + key: value for key, value in values.items()}
        self._waiting = []
        self.step.output.backward(losses)


def require_joint_passes(student: Any, hides_inside: bool) -> None:
    """Raise `ConfigError` if the student's backbone cannot see several batches as one."""
    reason, backbone = None, type(student.backbone).__name__
    if not hasattr(student, "joint_features"):
        reason = f"{type(student).__name__} without joint_features"
    elif hides_inside:
        reason = f"masks inside of {backbone}"
    elif not all(is_batch_independent(p) for p in (student.backbone, student.neck) if p):
        reason = f"{backbone} with batch norm, whose statistics are those of one batch"
    if reason is not None:
        raise ConfigError(
            "expected a network that several batches can go through as one for "
            f"uda.joint_passes=True, got {reason}. Set it to False."
        )
