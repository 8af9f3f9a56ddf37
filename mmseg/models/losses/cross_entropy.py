"""Cross-entropy between logits and labels, with weights per class and per pixel.

Legend: N images, C classes, H×W pixels.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmseg.config.registry import LOSSES
from mmseg.config.values import NonNegative
from mmseg.system.errors import ConfigError, nearest
from mmseg.system.processes import all_reduce_sum, world_size

REDUCTIONS = ("none", "mean", "sum")


def reduce_loss(
    loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | Tensor | None = None
) -> Tensor:
    """Multiply an element-wise loss by `weight`, then reduce it.

    'mean' divides by the number of *all* elements, ignored and zero-weighted ones included, or by
    `avg_factor` if that is given.
    """
    if reduction not in REDUCTIONS:
        raise ConfigError(f"unknown reduction {reduction!r}{nearest(reduction, REDUCTIONS)}")
    if weight is not None:
        if weight.shape != loss.shape:
            raise ValueError(
                f"expected a weight for each of the loss's {tuple(loss.shape)} elements, got "
                f"{tuple(weight.shape)}; pixel weights are (N, H, W)."
            )
        loss = loss * weight.to(loss.dtype)
    if avg_factor is not None:
        if reduction != "mean":
            raise ValueError(
                f"expected reduction 'mean' with avg_factor, got {reduction!r}; drop one of them."
            )
        return loss.sum() / avg_factor
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = "mean",
    avg_factor: float | Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Softmax cross-entropy; 0 where the label is `ignore_index`.

    Args:
        logits: (N, C, H, W).
        label: (N, H, W) int64; each entry a class or `ignore_index`.
        weight: (N, H, W) weight per pixel.
        class_weight: (C,).
        reduction: 'mean' over all pixels, 'sum' or 'none'.
        avg_factor: what 'mean' divides by instead of the number of pixels.
        ignore_index: label of pixels that do not count.

    >>> cross_entropy(torch.zeros(1, 4, 1, 2), torch.tensor([[[3, 255]]])).item()  # log(4) / 2
    0.6931471824645996
    """
    loss = F.cross_entropy(
        logits, label, weight=class_weight, reduction="none", ignore_index=ignore_index
    )
    return reduce_loss(loss, weight, reduction, avg_factor)


def binary_cross_entropy(
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = "mean",
    avg_factor: float | Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Sigmoid cross-entropy of every class against the one-hot label; arguments as above.

    'mean' divides by N·C·H·W; `class_weight` multiplies the positive term of its class.
    """
    is_valid = (label != ignore_index) & (label >= 0)
    one_hot = F.one_hot(label.where(is_valid, torch.zeros_like(label)), logits.shape[1])
    target = one_hot.movedim(-1, 1).to(logits.dtype)
    if class_weight is not None:
        class_weight = class_weight.view(-1, *[1] * (logits.dim() - 2))
    loss = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=class_weight, reduction="none"
    )
    mask = is_valid.to(loss.dtype)
    mask = mask if weight is None else mask * weight
    return reduce_loss(loss, mask.unsqueeze(1).expand_as(loss), reduction, avg_factor)


@LOSSES.register()
class CrossEntropyLoss(nn.Module):
    """Cross-entropy as a config describes it.

    A label outside 0…C−1 that is not `ignore_index` is an error of the data. On a CPU torch raises
    for it; on a GPU the check happens inside the kernel (a device-side assertion), because looking
    at the labels first would stall the device in every step.

    Args:
        use_sigmoid: binary cross-entropy per class instead of softmax.
        reduction: 'mean' (over all pixels), 'sum' or 'none'.
        class_weight: one number per class.
        loss_weight: factor on the result.
        avg_non_ignore: 'mean' divides by the number of pixels that are not ignored, of all
            processes, where pixels have no weights. Not with `use_sigmoid`.
    """

    class_weight: Tensor | None
    counts_all_processes = True  # for `avg_non_ignore`; else each counts its own pixels

    def __init__(
        self,
        use_sigmoid: bool = False,
        reduction: Literal["mean", "sum", "none"] = "mean",
        class_weight: Annotated[Sequence[NonNegative], Field(min_length=1)] | None = None,
        loss_weight: NonNegative = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__()
        if avg_non_ignore and use_sigmoid:
            raise ConfigError(
                "expected CrossEntropyLoss with use_sigmoid or with avg_non_ignore, got both. Drop "
                "one of them."
            )
        self.criterion = binary_cross_entropy if use_sigmoid else cross_entropy
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.avg_non_ignore = avg_non_ignore
        weights = None if class_weight is None else torch.tensor(class_weight)
        self.register_buffer("class_weight", weights, persistent=False)

    def forward(
        self,
        logits: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Return `loss_weight` times the reduced loss; shapes as for `cross_entropy`.

        `ConfigError` unless `class_weight` has a number for each of the logits' classes.
        """
        if self.class_weight is not None and len(self.class_weight) != logits.shape[1]:
            raise ConfigError(
                f"class_weight of CrossEntropyLoss: expected {logits.shape[1]} numbers, one per "
                f"class, got {len(self.class_weight)}. Make class_weight as long as num_classes."
            )
        reduction = reduction_override or self.reduction
        is_plain = reduction == "mean" and weight is None and avg_factor is None
        if self.avg_non_ignore and is_plain:
            avg_factor = self._count(label != ignore_index)
        settings = (self.class_weight, reduction, avg_factor, ignore_index)
        return self.loss_weight * self.criterion(logits, label, weight, *settings)

    def _count(self, is_valid: Tensor) -> Tensor:
        """Return how many pixels (N, H, W) are valid: the mean of all processes, never 0."""
        count = is_valid.sum()
        if not self.counts_all_processes:
            return count.clamp(min=1)
        return all_reduce_sum(count).clamp(min=1) / world_size()
