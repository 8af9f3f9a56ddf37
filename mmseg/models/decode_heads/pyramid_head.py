"""The head of VFM-UDA++: a pyramid, read from the coarsest level to the finest.

Legend: N images, K channels of every level, C classes, h×w pixels of the finest level.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor, nn

from mmseg.config.registry import HEADS, LOSSES
from mmseg.config.values import Count, Label, Section
from mmseg.models.decode_heads.decode_head import CROSS_ENTROPY, BaseDecodeHead
from mmseg.models.layers import SLOW_SYNC_BN, NormCfg, build_norm
from mmseg.models.losses import SamplerCfg
from mmseg.system.errors import ConfigError

LEVELS = 4
SMALLEST_SHARE = 2 ** (LEVELS - 1)


def draw_classifier(layer: nn.Conv2d) -> None:
    """Draw a classification layer of this family from N(0, 0.1)."""
    nn.init.normal_(layer.weight, std=0.1)


@HEADS.register()
class PyramidHead(BaseDecodeHead):
    """Enlarge the coarsest level by 2 and add the next finer one, halving the channels each time.

    Args:
        in_channels: K, a multiple of 8.
        num_classes: C.
        norm_cfg: of the batch norms; with several processes and no GPUs, set type='BN'.
        loss_decode, ignore_index, align_corners, sampler: as for `BaseDecodeHead`.
    """

    def __init__(
        self,
        in_channels: Count,
        num_classes: Count,
        norm_cfg: NormCfg = SLOW_SYNC_BN,
        loss_decode: Annotated[Section, LOSSES.checked] = CROSS_ENTROPY,
        ignore_index: Label = 255,
        align_corners: bool = False,
        sampler: SamplerCfg | None = None,
    ) -> None:
        if in_channels % SMALLEST_SHARE:
            raise ConfigError(
                f"expected in_channels of a PyramidHead that {SMALLEST_SHARE} divides, got "
                f"{in_channels}. Use a backbone with such a width."
            )
        levels = ([in_channels] * LEVELS, in_channels // SMALLEST_SHARE, num_classes)
        options: dict[str, Any] = {"loss_decode": loss_decode, "ignore_index": ignore_index}
        options |= {"align_corners": align_corners, "sampler": sampler, "dropout_ratio": 0}
        options |= {"in_index": range(LEVELS), "input_transform": "multiple_select"}
        super().__init__(*levels, norm_cfg=norm_cfg, **options)
        for j in range(1, LEVELS):
            width = in_channels >> j
            self.add_module(f"up_conv{j}", nn.ConvTranspose2d(2 * width, width, 2, 2))
            self.add_module(f"reduce_conv{j}", nn.Conv2d(in_channels, width, 1))
            self.add_module(f"smooth_conv{j}", nn.Conv2d(width, width, 3, padding=1))
            self.add_module(f"norm{j}", build_norm(norm_cfg, width)[1])
        self.smooth_conv4 = nn.Conv2d(self.channels, self.channels, 3, padding=1)
        self.conv_seg = nn.Conv2d(self.channels, num_classes, 1, bias=False)

    def init_weights(self) -> None:
        """Draw Kaiming-uniform weights (transposed: fan out), biases 0, and the classifier's."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                mode = "fan_out" if isinstance(layer, nn.ConvTranspose2d) else "fan_in"
                nn.init.kaiming_uniform_(layer.weight, mode=mode)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        draw_classifier(self.conv_seg)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map four levels, finest first, to logits (N, C, h, w)."""
        *finer, x = self.select_inputs(inputs)
        for j, level in enumerate(reversed(finer), start=1):
            up, reduce, smooth, norm = (
                self.get_submodule(f"{name}{j}")
                for name in ("up_conv", "reduce_conv", "smooth_conv", "norm")
            )
            x = norm(smooth(up(x) + reduce(level))).relu()
        return self.cls_seg(self.smooth_conv4(x))
