"""DANet's head: attention among positions and among channels, each classified, and their sum.

Legend: N images, C classes, K channels, h×w pixels of the feature.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import HEADS
from mmseg.config.values import Count
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.layers import (
    ConvModule,
    at_least_single,
    attend,
    full_precision,
    map_to_tokens,
)


class Scale(nn.Module):
    """One learned factor, which starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a tensor of any shape."""
        return self.scale * x


class PositionAttention(nn.Module):
    """Add to every pixel what the pixels most like it show."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.key_project = nn.Conv2d(channels, key_channels, 1)
        self.query_project = nn.Conv2d(channels, key_channels, 1)
        self.value_project = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K, h, w) to the same shape."""
        projections = (self.query_project, self.key_project, self.value_project)
        query, key, value = (map_to_tokens(project(x)) for project in projections)
        related = attend(query, key, value, scale=1.0)  # (N, h·w, K)
        return self.gamma(related.transpose(1, 2).reshape(x.shape)) + x


class ChannelAttention(nn.Module):
    """Add to every channel what the channels least like it show."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K, h, w) to the same shape."""
        flat = at_least_single(x).flatten(2)  # (N, K, h·w)
        with full_precision(x.device):  # sums over all pixels leave the range of half
            likeness = flat @ flat.transpose(1, 2)  # (N, K, K)
            attended = (-likeness).softmax(dim=-1) @ flat
        return self.gamma(attended.view(x.shape)) + x


@HEADS.register()
class DAHead(BaseDecodeHead):
    """Classify both attentions' outputs, and their sum, which alone predicts.

    Args:
        pam_channels: channels of the keys and queries among positions.
        kwargs: as for `BaseDecodeHead`.
    """

    def __init__(self, pam_channels: Count, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, channels, classes = self.single_width, self.channels, self.num_classes
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        options["padding"] = 1
        self.pam_in_conv = ConvModule(width, channels, 3, **options)
        self.pam = PositionAttention(channels, pam_channels)
        self.pam_out_conv = ConvModule(channels, channels, 3, **options)
        self.pam_conv_seg = nn.Conv2d(channels, classes, 1)
        self.cam_in_conv = ConvModule(width, channels, 3, **options)
        self.cam = ChannelAttention()
        self.cam_out_conv = ConvModule(channels, channels, 3, **options)
        self.cam_conv_seg = nn.Conv2d(channels, classes, 1)

    def _attended(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the outputs (N, channels, h, w) of both attentions."""
        feature = self.select_inputs(inputs)[0]
        positions = self.pam_out_conv(self.pam(self.pam_in_conv(feature)))
        return positions, self.cam_out_conv(self.cam(self.cam_in_conv(feature)))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to the logits (N, C, h, w) of the sum."""
        pam, cam = self._attended(inputs)
        return self.cls_seg(pam + cam)

    def forward_train(
        self,
        inputs: Sequence[Tensor],
        img_metas: list[dict[str, Any]] | None,
        gt_semantic_seg: Tensor,
        train_cfg: Mapping[str, Any] | None = None,
        seg_weight: Tensor | None = None,
        return_logits: bool = False,
    ) -> dict[str, Any]:
        """Return `loss_seg` and `acc_seg` of the sum (`pam_cam.*`), of `pam.*` and of `cam.*`.

        Arguments and `logits`, those of the sum, are as for `BaseDecodeHead`.
        """
        pam, cam = self._attended(inputs)
        logits = {"pam_cam": self.cls_seg(pam + cam)}
        for name, x, layer in (("pam", pam, self.pam_conv_seg), ("cam", cam, self.cam_conv_seg)):
            logits[name] = layer(x if self.dropout is None else self.dropout(x))
        result: dict[str, Any] = {}
        for name, prediction in logits.items():
            values = self.losses(prediction, gt_semantic_seg, seg_weight)
            result |= {f"{name}.{key}": value for key, value in values.items()}
        if return_logits:
            result["logits"] = logits["pam_cam"]
        return result
