"""A neck that gives heads of one feature all levels of a hierarchical backbone.

Legend: N images, K channels, h×w pixels of a level.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg.config.registry import NECKS
from mmseg.config.values import Counts, Indices
from mmseg.models.layers import resize
from mmseg.system.errors import ConfigError


@NECKS.register()
class SegFormerAdapter(nn.Module):
    """Replace the last feature by several levels, enlarged and concatenated.

    Args:
        scales: how many times larger each of `out_layers` becomes; all must get one size.
        out_layers: which features to concatenate.
    """

    def __init__(self, scales: Counts, out_layers: Indices = (3,)) -> None:
        super().__init__()
        if len(scales) != len(out_layers):
            raise ConfigError(
                f"SegFormerAdapter: expected one scale per out_layers {list(out_layers)}, got "
                f"{list(scales)}. Give as many numbers."
            )
        self.scales, self.out_layers = list(scales), list(out_layers)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the features with (N, ΣK, h, w) as the last one."""
        if max(self.out_layers) >= len(features):
            raise ConfigError(
                f"SegFormerAdapter: expected features for out_layers {self.out_layers}, got "
                f"{len(features)} features. Lower out_layers."
            )
        chosen = zip((features[i] for i in self.out_layers), self.scales, strict=True)
        levels = [resize(x, (x.shape[2] * n, x.shape[3] * n)) for x, n in chosen]
        sizes = {tuple(level.shape[2:]) for level in levels}
        if len(sizes) > 1:
            raise ConfigError(
                f"SegFormerAdapter: expected scales {self.scales} that give the features "
                f"{self.out_layers} one size, got {sorted(sizes)}. Choose each scale as the "
                "ratio of the strides."
            )
        return [*features[:-1], torch.cat(levels, dim=1)]
