"""What every decode head shares: choice of features, classification layer, loss.

Legend: N images, C classes, H×W pixels of the label, h×w pixels of the head's output.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from mmseg.config.registry import LOSSES
from mmseg.config.values import Count, Counts, Label, Part, Section
from mmseg.models.layers import RELU, ActCfg, ConvCfg, NormCfg, join, resize
from mmseg.models.losses import PIXEL_SAMPLERS, SamplerCfg, accuracy
from mmseg.system.errors import ConfigError

CROSS_ENTROPY: Mapping[str, Any] = {"type": "CrossEntropyLoss"}


class BaseDecodeHead(nn.Module, ABC):
    """Features of a backbone → logits (N, C, h, w), and the loss on them.

    A subclass builds its layers after `super().__init__(...)` and implements `forward`, which
    starts with `self.select_inputs(inputs)` and ends with `self.cls_seg(features)`.

    Args:
        in_channels: channels of the used feature, or a list of them for `input_transform`.
        channels: channels before the classification layer.
        num_classes: C.
        in_index: which backbone feature(s) to use.
        input_transform: None (one feature), 'multiple_select' (a list of features) or
            'resize_concat' (all resized to the first one's size and concatenated).
        dropout_ratio: share of channels dropped before the classification layer.
        conv_cfg, norm_cfg, act_cfg: for the layers of the subclass.
        decoder_params: for the subclass, which may have keys of its own in it.
        loss_decode: config of the loss.
        ignore_index: label of pixels that do not count.
        align_corners: of every bilinear resize.
        sampler: config of what chooses the pixels that the loss counts, instead of weights.
    """

    def __init__(
        self,
        in_channels: Count | Counts,
        channels: Count,
        num_classes: Count,
        in_index: int | Sequence[int] = -1,
        input_transform: Literal["resize_concat", "multiple_select"] | None = None,
        dropout_ratio: Part = 0.1,
        conv_cfg: ConvCfg | None = None,
        norm_cfg: NormCfg | None = None,
        act_cfg: ActCfg | None = RELU,
        loss_decode: Annotated[Section, LOSSES.checked] = CROSS_ENTROPY,
        decoder_params: Section | None = None,
        ignore_index: Label = 255,
        align_corners: bool = False,
        sampler: SamplerCfg | None = None,
    ) -> None:
        super().__init__()
        self._check_inputs(in_channels, in_index, input_transform)
        is_single = isinstance(in_channels, int)
        self.feature_channels: list[int] = [in_channels] if is_single else list(in_channels)
        # What the subclass's first layers see: a list only for 'multiple_select'.
        self.in_channels = in_channels if is_single else list(in_channels)
        if input_transform == "resize_concat":
            self.in_channels = sum(self.feature_channels)
        self.channels, self.num_classes = channels, num_classes
        self.in_index, self.input_transform = in_index, input_transform
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.decoder_params = decoder_params
        self.ignore_index = ignore_index
        self.align_corners = align_corners
        self.loss_decode = LOSSES.build(loss_decode)
        self.sampler = None if sampler is None else PIXEL_SAMPLERS.build(sampler)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout_ratio) if dropout_ratio > 0 else None

    def _check_inputs(
        self,
        in_channels: int | Sequence[int],
        in_index: int | Sequence[int],
        input_transform: str | None,
    ) -> None:
        name = type(self).__name__
        got = f"got {in_channels!r} and {in_index!r}"
        if input_transform is None:
            if not isinstance(in_channels, int) or not isinstance(in_index, int):
                raise ConfigError(
                    f"{name}: expected one in_channels and one in_index, {got}; give numbers, or "
                    "set input_transform."
                )
        elif isinstance(in_channels, int) or isinstance(in_index, int):
            raise ConfigError(
                f"{name}: expected lists as in_channels and in_index, {got}; give one number per "
                "feature."
            )
        elif len(in_channels) != len(in_index):
            raise ConfigError(
                f"{name}: expected as many in_channels as in_index, {got}; give one number of "
                "channels per feature index."
            )

    @property
    def single_width(self) -> int:
        """Channels of the one feature that a head sees which does not work on several."""
        if isinstance(self.in_channels, int):
            return self.in_channels
        raise ConfigError(
            f"{type(self).__name__}: expected one feature, got input_transform="
            f"{self.input_transform!r} with {len(self.in_channels)} features. Use "
            "'resize_concat', or None with one number as in_channels and in_index."
        )

    def init_weights(self) -> None:
        """Draw the classification layer from N(0, 0.01), bias 0; the others draw their own."""
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        if self.conv_seg.bias is not None:
            nn.init.zeros_(self.conv_seg.bias)

    def select_inputs(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Pick the features of `in_index` and check their channels.

        Only 'multiple_select' returns a list of more than one.
        """
        index = [self.in_index] if isinstance(self.in_index, int) else list(self.in_index)
        name = type(self).__name__
        if max(index) >= len(inputs) or min(index) < -len(inputs):
            raise ConfigError(
                f"{name}: expected features for in_index {index}, got {len(inputs)} features; "
                "lower in_index or let the backbone return more."
            )
        features = [inputs[i] for i in index]
        got = [feature.shape[1] for feature in features]
        if got != self.feature_channels:
            raise ConfigError(
                f"{name}: expected features with {self.feature_channels} channels at in_index "
                f"{index}, got {got}; set in_channels to those of the backbone."
            )
        if self.input_transform != "resize_concat":
            return features
        return [join(features, self.align_corners)]

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> list[Tensor] | Tensor:
        """Return the selected features as heads of forks expect them: a list, or the only one."""
        features = self.select_inputs(inputs)
        return features if self.input_transform == "multiple_select" else features[0]

    @abstractmethod
    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""

    def cls_seg(self, features: Tensor) -> Tensor:
        """Classify every pixel: (N, channels, h, w) → (N, C, h, w)."""
        return self.conv_seg(features if self.dropout is None else self.dropout(features))

    def forward_train(
        self,
        inputs: Sequence[Tensor],
        img_metas: list[dict[str, Any]] | None,
        gt_semantic_seg: Tensor,
        train_cfg: Mapping[str, Any] | None = None,
        seg_weight: Tensor | None = None,
        return_logits: bool = False,
    ) -> dict[str, Any]:
        """Return `loss_seg` and `acc_seg`, plus the raw `logits` (N, C, h, w) on request.

        `gt_semantic_seg` is (N, 1, H, W) int64 class indices, `ignore_index` where unknown,
        `seg_weight` (N, H, W) per pixel. Users' heads may need `img_metas` and `train_cfg`.
        """
        logits = self.forward(inputs)
        # A user's own `losses` may do without weights as long as there are none.
        weights = {} if seg_weight is None else {"seg_weight": seg_weight}
        losses: dict[str, Any] = self.losses(logits, gt_semantic_seg, **weights)
        if return_logits:
            losses["logits"] = logits
        return losses

    def forward_test(
        self,
        inputs: Sequence[Tensor],
        img_metas: list[dict[str, Any]] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Return logits (N, C, h, w) for prediction."""
        return self.forward(inputs)

    def losses(
        self, seg_logit: Tensor, seg_label: Tensor, seg_weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compare logits (N, C, h, w), resized to the label's size, with labels (N, 1, H, W).

        Returns `loss_seg` and `acc_seg` (percent of all pixels), both 0-dim. The choice of a
        `sampler` replaces the weights (N, H, W).
        """
        height, width = seg_label.shape[2:]
        logits = resize(seg_logit, (height, width), self.align_corners)  # (N, C, H, W)
        label = seg_label.squeeze(1)
        if self.sampler is not None:
            choice = (logits, label, self.loss_decode, self.ignore_index)
            seg_weight = self.sampler.sample(*choice)
        loss = self.loss_decode(logits, label, weight=seg_weight, ignore_index=self.ignore_index)
        return {"loss_seg": loss, "acc_seg": accuracy(logits, label)}
