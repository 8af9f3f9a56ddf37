"""SegFormer's head: one linear layer per level, and one over all of them.

Legend: N images, C classes, h×w pixels of the finest feature level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from mmseg.config.checking import checked
from mmseg.config.registry import HEADS
from mmseg.config.values import Count, Section
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fusion_layers import MLP
from mmseg.models.layers import ConvModule, join


@dataclass(frozen=True)
class SegFormerParams:
    """The widths of a SegFormer head."""

    embed_dim: Count  # of every level, and of their fusion
    conv_kernel_size: Count = 1  # of the fusion


@HEADS.register()
class SegFormerHead(BaseDecodeHead):
    """Embed every level, resize all to the finest one, fuse, classify.

    `linear_pred` classifies. `conv_seg` has no use, but published checkpoints hold it.

    Args:
        decoder_params: see `SegFormerParams`.
        kwargs: as for `BaseDecodeHead`, with lists for `in_channels` and `in_index`.
    """

    def __init__(
        self,
        decoder_params: Annotated[
            Section, checked(SegFormerParams, "decoder_params of SegFormerHead")
        ],
        input_transform: Literal["multiple_select"] = "multiple_select",
        **kwargs: Any,
    ) -> None:
        super().__init__(input_transform=input_transform, decoder_params=decoder_params, **kwargs)
        params = SegFormerParams(**decoder_params)
        width, kernel = params.embed_dim, params.conv_kernel_size
        self.linear_c = nn.ModuleList(MLP(channels, width) for channels in self.feature_channels)
        options: dict[str, Any] = {"norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        joined = len(self.feature_channels) * width
        self.linear_fuse = ConvModule(joined, width, kernel, padding=kernel // 2, **options)
        self.linear_pred = nn.Conv2d(width, self.num_classes, 1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the levels' features to logits (N, C, h, w)."""
        levels = zip(self.linear_c, self.select_inputs(inputs), strict=True)
        embedded = [layer(feature) for layer, feature in levels]
        fused = self.linear_fuse(join(embedded, self.align_corners))
        return self.linear_pred(fused if self.dropout is None else self.dropout(fused))
