"""Choose the pixels that a head learns from.

Legend: N images, C classes, H×W pixels.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from mmseg.config.registry import Registry
from mmseg.config.values import Count, Section, Share
from mmseg.models.layers import at_least_single

PIXEL_SAMPLERS = Registry("pixel sampler")
SamplerCfg = Annotated[Section, PIXEL_SAMPLERS.checked]


@PIXEL_SAMPLERS.register()
class OHEMPixelSampler:
    """Online hard example mining: learn only from the pixels that are most wrong.

    Args:
        thresh: learn from every pixel whose true class has a smaller probability than this; None
            goes by the loss instead.
        min_kept: but from so many pixels per image at least; with `thresh=None`, from just so many.
    """

    def __init__(self, thresh: Share | None = None, min_kept: Count = 100_000) -> None:
        self.thresh, self.min_kept = thresh, min_kept

    @torch.no_grad()
    def sample(
        self,
        logits: Tensor,
        label: Tensor,
        pixel_loss: Callable[..., Tensor],
        ignore_index: int = 255,
    ) -> Tensor:
        """Return weights (N, H, W): 1 for the chosen pixels of the batch, 0 for the others.

        Nothing here waits for the device.

        Args:
            logits: (N, C, H, W).
            label: (N, H, W) int64 class indices, `ignore_index` where unknown.
            pixel_loss: called with both, `ignore_index` and `reduction_override='none'`, returns
                (N, H, W), or (N, C, H, W) of which classes add up. Asked without `thresh` only.
            ignore_index: label of pixels that are never chosen.
        """
        is_known = label != ignore_index
        kept = self.min_kept * len(label)
        if self.thresh is None:
            loss = pixel_loss(logits, label, ignore_index=ignore_index, reduction_override="none")
            loss = loss.sum(dim=1) if loss.dim() == logits.dim() else loss
            is_chosen = _largest(loss.masked_fill(~is_known, -torch.inf), kept)
        else:
            index = label.where(is_known, torch.zeros_like(label)).unsqueeze(1)
            share = at_least_single(logits).softmax(dim=1).gather(1, index).squeeze(1)
            share = share.masked_fill(~is_known, torch.inf)  # of the true class
            # The first probability, in ascending order, that need not be learned from.
            place = (is_known.sum() - 1).clamp(min=0, max=kept)
            edge = share.flatten().sort().values.gather(0, place.view(1))
            is_chosen = share < edge.clamp(min=self.thresh)
        return (is_chosen & is_known).to(logits.dtype)


def _largest(values: Tensor, number: int) -> Tensor:
    """Tell which elements belong to the `number` largest ones."""
    flat = values.flatten()
    order = flat.topk(min(number, flat.numel())).indices
    return torch.zeros_like(flat, dtype=torch.bool).index_fill(0, order, True).view_as(values)
