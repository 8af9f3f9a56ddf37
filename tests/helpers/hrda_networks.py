"""Small HRDA networks whose predictions can be followed by hand.

The test backbone averages blocks of 8×8 pixels, so that a prediction of DeepLab-v2's head with
dilation 1 (output stride 8) depends on one block alone. Where windows are to matter, it subtracts
the mean of all that it sees.
"""

from typing import Any

import torch.nn.functional as F
from network_records import filled, normal
from torch import Tensor, nn

from mmseg.models import BACKBONES, build_segmentor

WINDOW, UNIT = (32, 48), 8


@BACKBONES.register("block_test_backbone", force=True)
class BlockBackbone(nn.Module):
    """Means of 8×8 pixels; with `is_global` relative to the mean of all of them."""

    def __init__(self, is_global: bool = False, pretrained: str | None = None) -> None:
        super().__init__()
        self.is_global = is_global
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> list[Tensor]:
        self.seen.append(tuple(x.shape))
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % UNIT, 0, -height % UNIT))
        blocks = F.avg_pool2d(padded, UNIT)
        return [blocks - blocks.mean((2, 3), keepdim=True) if self.is_global else blocks]


def cfg(is_global: bool = False, head: dict[str, Any] | None = None, **changes: Any) -> Any:
    return {
        "type": "HRDAEncoderDecoder",
        "backbone": {"type": "block_test_backbone", "is_global": is_global},
        "decode_head": {
            "type": "HRDAHead",
            "single_scale_head": "DLV2Head",
            "in_channels": 3,
            "num_classes": 5,
            "dilations": (1,),
            "hr_loss_weight": 0.1,
            **(head or {}),
        },
        "scales": [1, 0.5],
        "hr_crop_size": WINDOW,
        "crop_coord_divisible": 16,
        "hr_slide_inference": True,
        **changes,
    }


def build(*args: Any, **kwargs: Any) -> Any:
    return filled(build_segmentor(cfg(*args, **kwargs))).eval()


class FixedBox:
    def __init__(self, *box: int) -> None:
        self.box = box
        self.asked: list[tuple[Any, ...]] = []

    def crop_box(self, *args: Any) -> Any:
        self.asked.append(args)
        return self.box


def labels(*size: int) -> Tensor:
    return (normal("label", *size).abs() * 3).long().clamp(max=4)
