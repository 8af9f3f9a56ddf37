"""DeepLab-v2's head: dilated convolutions that classify directly, and their sum.

Legend: N images, C classes, h×w pixels of the feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from mmseg.config.checking import checked
from mmseg.config.registry import HEADS, LOSSES
from mmseg.config.values import Count, Counts, Label, Positive, Section
from mmseg.models.decode_heads.aspp_layer import aspp_branches
from mmseg.models.decode_heads.decode_head import CROSS_ENTROPY, BaseDecodeHead
from mmseg.models.losses import SamplerCfg

NARROW: Mapping[str, Any] = {"type": "Normal", "std": 0.01}


@dataclass(frozen=True)
class InitKeys:
    """How the weights are drawn."""

    INERT: ClassVar[tuple[str, ...]] = ("override",)  # means the same in the family's configs

    type: Literal["Normal"]
    std: Positive = 0.01


@HEADS.register()
class DLV2Head(BaseDecodeHead):
    """Sum one dilated 3×3 convolution per dilation; no norm, activation or dropout.

    Args:
        dilations: one convolution each; 1 stands for a 1×1 convolution.
        in_index, loss_decode, ignore_index, align_corners, sampler: as for `BaseDecodeHead`.
        init_cfg: how the weights are drawn, see `InitKeys`.
    """

    def __init__(
        self,
        in_channels: Count,
        num_classes: Count,
        dilations: Counts = (6, 12, 18, 24),
        in_index: int = -1,
        loss_decode: Annotated[Section, LOSSES.checked] = CROSS_ENTROPY,
        ignore_index: Label = 255,
        align_corners: bool = False,
        init_cfg: Annotated[Section, checked(InitKeys, "init_cfg")] = NARROW,
        sampler: SamplerCfg | None = None,
    ) -> None:
        options: dict[str, Any] = {"loss_decode": loss_decode, "ignore_index": ignore_index}
        options |= {"dropout_ratio": 0, "align_corners": align_corners, "sampler": sampler}
        super().__init__(in_channels, num_classes, num_classes, in_index, **options)
        self.std = float(init_cfg.get("std", NARROW["std"]))
        del self.conv_seg  # the convolutions classify
        self.aspp_modules = aspp_branches(in_channels, num_classes, dilations, False, None, None)

    def init_weights(self) -> None:
        """Draw the weights from N(0, 0.01); biases 0."""
        for module in self.aspp_modules.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=self.std)
                assert module.bias is not None  # there is no norm to replace it
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (N, C, h, w)."""
        feature = self.select_inputs(inputs)[0]
        return reduce(add, (branch(feature) for branch in self.aspp_modules))
