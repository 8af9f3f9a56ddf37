"""What heads written for mmsegmentation import as `mmseg.ops`."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor


def resize(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    warning: bool = True,
) -> Tensor:
    """Resample (N, C, h, w) to `size`, (H, W), or by `scale_factor`, as torch's `interpolate` does.

    `warning` has no effect. The package itself uses `mmseg.models.layers.resize`, which is always
    bilinear. `ValueError` unless one of size and scale_factor is given.
    """
    del warning
    return F.interpolate(input, size, scale_factor, mode, align_corners)
