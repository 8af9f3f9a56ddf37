"""Backbones of timm that are small, and weights for them."""

from typing import Any

import torch
from golden_init import values
from network_records import keys_and_shapes
from torch import Tensor, nn

from mmseg.models import BACKBONES

PLAIN, REGISTERS = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
TINY: dict[str, Any] = {"embed_dim": 8, "depth": 3, "num_heads": 2, "img_size": 42}  # table: 3x3
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "convolutional": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (4, 6, 8, 10)}),
    "residual": ("resnet18", {"channels": (4, 6, 8, 10)}),
    "hierarchical": (
        "swin_tiny_patch4_window7_224",
        {"depths": (1, 2, 1, 1), "embed_dim": 6, "num_heads": (1, 2, 2, 3)},
    ),
    "pyramid": ("pvt_v2_b0", {"depths": (1, 1, 1, 1), "embed_dims": (4, 6, 10, 16)}),
    "plain": ("vit_tiny_patch16_224", {"depth": 3, "embed_dim": 6, "num_heads": 2}),
    "registers": (REGISTERS, TINY),
    "rotary": ("vit_small_patch16_dinov3", {"depth": 2, "embed_dim": 16, "num_heads": 2}),
}


def build(model_name: str = PLAIN, **options: Any) -> Any:
    return BACKBONES.build({"type": "TIMMBackbone", "model_name": model_name, **options})


def tiny(model_name: str = PLAIN, **options: Any) -> Any:
    return build(model_name, model_kwargs=TINY, **options)


def loaded(path: object, model_name: str = PLAIN, **options: Any) -> Any:
    """Build a tiny network and let it read a file."""
    network = tiny(model_name, pretrained=str(path), **options)
    network.init_weights()
    return network


def weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights of the network's keys and shapes that are a function of the keys alone."""
    return {k: torch.from_numpy(values(k, s)) for k, s in keys_and_shapes(network)}
