"""HRDA's head: one head for two scales, and an attention that fuses their predictions.

Legend: N images, C classes, H×W pixels of the detail image, h×w cells of the fused map (one per
`output_stride` pixels of it). Boxes are (y1, y2, x1, x2) in the detail image, ends exclusive.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.config.registry import HEADS
from mmseg.config.values import Share
from mmseg.models.layers import Box, at_least_single, cut, resize
from mmseg.models.losses import is_loss
from mmseg.system.errors import ConfigError

ATTENTION_CHANNELS = 256
OUTPUT_STRIDES = {"DAFormerHead": 4, "DLV2Head": 8}  # image pixels per logit


@dataclass(frozen=True)
class ScaleLogits:
    """The predictions of the scales for a batch of images, separate and fused."""

    fused: Tensor  # (N, C, h, w)
    context: Tensor  # (N, C, h', w') at the context's own resolution, times 1 - attention
    detail: Tensor  # (N, C, h", w") of the box
    attention: Tensor  # (N, C or 1, h, w) in [0, 1]; 0 outside of the box
    box: Box


@HEADS.register()
class HRDAHead(nn.Module):
    """Classify context and detail with one head and fuse both by a learned scale attention.

    Args:
        single_scale_head: type of the head for both scales, DAFormerHead or DLV2Head.
        attention_classwise: whether every class has its own attention.
        hr_loss_weight: λ_d, share of the loss on the detail alone.
        lr_loss_weight: λ_c, share of the loss on the context alone.
        fixed_attention: a number in [0, 1] instead of a learned attention. The attribute of this
            name can be changed for an evaluation: 0 uses only the context, 1 only the detail, None
            (only with a learned attention) both.
        head: the other keys, which are those of the single-scale head.
    """

    inner_type_key = "single_scale_head"  # names the class that takes the other keys

    def __init__(
        self,
        single_scale_head: Literal["DAFormerHead", "DLV2Head"],
        attention_classwise: bool = True,
        hr_loss_weight: Share = 0.0,
        lr_loss_weight: Share = 0.0,
        fixed_attention: Share | None = None,
        **head: Any,
    ) -> None:
        super().__init__()
        weights = (hr_loss_weight, lr_loss_weight)
        if sum(weights) > 1:
            raise ConfigError(
                "HRDAHead: expected hr_loss_weight and lr_loss_weight as shares of one loss, got "
                f"{hr_loss_weight} and {lr_loss_weight}; choose them at most 1 in sum."
            )
        self.hr_loss_weight, self.lr_loss_weight = weights
        self.output_stride = OUTPUT_STRIDES[single_scale_head]
        self.head: Any = HEADS.build({"type": single_scale_head, **head})
        self.num_classes: int = self.head.num_classes
        self.align_corners: bool = self.head.align_corners
        self.scale_attention: Any = None
        if fixed_attention is None:
            maps = self.head.num_classes if attention_classwise else 1
            attention = _attention_config(single_scale_head, head)
            self.scale_attention = HEADS.build({**attention, "num_classes": maps})
        self.fixed_attention = fixed_attention

    @property
    def fixed_attention(self) -> float | None:
        """The share of the detail everywhere, or None for the learned attention."""
        return self._fixed_attention

    @fixed_attention.setter
    def fixed_attention(self, value: float | None) -> None:
        is_learned = value is None and self.scale_attention is not None
        if not is_learned and (value is None or not 0 <= value <= 1):
            raise ConfigError(
                f"HRDAHead: expected fixed_attention as a number from 0 to 1, got {value!r}; "
                "None needs a network that was built without it."
            )
        self._fixed_attention = value

    def init_weights(self) -> None:
        """Draw the initial weights of both heads."""
        self.head.init_weights()
        if self.scale_attention is not None:
            self.scale_attention.init_weights()

    def single_scale(self, features: Sequence[Tensor]) -> Tensor:
        """Classify the features of one scale: logits (N, C, h', w'), at least float32."""
        return at_least_single(self.head(features))

    def forward(
        self,
        context: Sequence[Tensor],
        detail: Callable[[], Tensor],
        box: Box,
        size: tuple[int, int],
    ) -> ScaleLogits:
        """Fuse up(a)·detail + up((1-a)·context).

        The network processes context, detail, context in this order, which determines the running
        statistics of its batch norms.

        `context` are the context's features; `detail`, called once, returns the logits
        (N, C, h", w") of the box, (0, H, 0, W) for the whole image; `size` is (H, W) of the latter.
        """
        context_logits = self.single_scale(context)
        detail_logits = detail()
        attention = _keep_inside(self._attention(context, context_logits), box, size)
        context_logits = (1 - attention) * context_logits
        rows, columns = (-(-length // self.output_stride) for length in size)
        attention, coarse = (
            resize(x, (rows, columns), self.align_corners) for x in (attention, context_logits)
        )
        top, left = box[0] // self.output_stride, box[2] // self.output_stride
        inserted = detail_logits
        if inserted.shape[2:] != (rows, columns):
            below, right = rows - top - inserted.shape[2], columns - left - inserted.shape[3]
            inserted = F.pad(inserted, (left, right, top, below))
        fused = attention * inserted + coarse
        return ScaleLogits(fused, context_logits, detail_logits, attention, box)

    def _attention(self, context: Sequence[Tensor], logits: Tensor) -> Tensor:
        """Return the attention (N, C or 1, h', w') on the context's cells."""
        if self.fixed_attention is not None:
            return logits.new_full((logits.shape[0], 1, *logits.shape[2:]), self.fixed_attention)
        return at_least_single(self.scale_attention(context)).sigmoid()

    def losses(
        self, output: ScaleLogits, label: Tensor, weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return (1-λ_d-λ_c)·CE(fused), and as `hr.*` and `lr.*` the weighted shares of the scales.

        `label` is (N, 1, H, W) int64, `weight` (N, H, W) per pixel.
        """
        detail_share, context_share = self.hr_loss_weight, self.lr_loss_weight
        main_share = 1 - detail_share - context_share
        losses = _scaled(self.head.losses(output.fused, label, weight), main_share)
        if context_share > 0:
            shares = _scaled(self.head.losses(output.context, label, weight), context_share)
            losses |= {f"lr.{key}": value for key, value in shares.items()}
        if detail_share > 0:
            detail_label = cut(label, output.box)
            detail_weight = None if weight is None else cut(weight, output.box)
            shares = self.head.losses(output.detail, detail_label, detail_weight)
            losses |= {f"hr.{k}": value for k, value in _scaled(shares, detail_share).items()}
        return losses


def _attention_config(kind: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the attention head: that of the main head, but simpler for DAFormer.

    It always embeds and fuses with 256 channels and without an ASPP, because the attention is a
    local question.
    """
    cfg = {"type": kind, **head}
    parameters = head.get("decoder_params")
    if kind != "DAFormerHead" or not isinstance(parameters, Mapping):
        return cfg
    parameters = {**parameters, "embed_dims": ATTENTION_CHANNELS}
    fusion = parameters.get("fusion_cfg")
    if isinstance(fusion, Mapping) and fusion.get("type") == "aspp":
        norm_cfg = fusion.get("norm_cfg")
        parameters["fusion_cfg"] = {"type": "conv", "kernel_size": 1, "norm_cfg": norm_cfg}
    return {**cfg, "channels": ATTENTION_CHANNELS, "decoder_params": parameters}


def _keep_inside(attention: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """Set an attention (N, K, h', w') on the context's cells to 0 outside a box in H×W pixels.

    Cells that the box only partly covers at its lower and right edge are outside, except at the
    border of the image.
    """
    (y1, y2, x1, x2), (height, width) = box, size
    if (y1, x1) == (0, 0) and y2 >= height and x2 >= width:
        return attention
    rows, columns = attention.shape[2:]
    mask = attention.new_zeros(rows, columns)
    mask[_cells(y1, y2, height, rows), _cells(x1, x2, width, columns)] = 1
    return attention * mask


def _cells(start: int, end: int, length: int, cells: int) -> slice:
    """Return which of the cells along an axis of `length` pixels lie between start and end.

    >>> _cells(32, 96, 128, 16)
    slice(4, 12, None)
    """
    return slice(start * cells // length, min(end, length) * cells // length)


def _scaled(values: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Multiply the losses among the values by a share."""
    return {name: value * share if is_loss(name) else value for name, value in values.items()}
