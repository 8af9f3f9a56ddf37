"""What making depth maps is measured with: networks of random weights, and drawn images.

The networks are those of Depth Anything V2; the images are grainy blobs in files as large as those
of GTA and Cityscapes.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

DISTINCT = 8  # images; all others are copies of them
GRAIN = 1.5  # standard deviation of the noise: decides how large the files are


@dataclass(frozen=True)
class Architecture:
    """What differs between the sizes of the network."""

    channels: int
    heads: int
    layers: int
    outputs: tuple[int, ...]
    neck: tuple[int, ...]
    fusion: int


ARCHITECTURES = {
    "tiny": Architecture(12, 2, 4, (1, 2, 3, 4), (6, 8, 10, 12), 4),  # to try this script
    "small": Architecture(384, 6, 12, (3, 6, 9, 12), (48, 96, 192, 384), 64),
    "base": Architecture(768, 12, 12, (3, 6, 9, 12), (96, 192, 384, 768), 128),
    "large": Architecture(1024, 16, 24, (5, 12, 18, 24), (256, 512, 1024, 1024), 256),
}


def usual_batch_size(device: torch.device) -> int:
    """Return how many images tools/make_depth.py computes together."""
    return 1 if device.type == "cpu" else 8


def draw_images(folder: Path, size: str, number: int) -> None:
    """Write PNG files of about 2.4 MB, as those of GTA and Cityscapes are."""
    folder.mkdir()
    width, height = (int(side) for side in size.split("x"))
    rng = np.random.default_rng(0)
    for index in range(min(number, DISTINCT)):
        blobs = rng.integers(30, 226, (9, 16, 3)).astype(np.float32)
        image = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, GRAIN, image.shape)
        cv2.imwrite(str(folder / f"{index:05d}.png"), image.clip(0, 255).astype(np.uint8))
    for index in range(DISTINCT, number):
        source = folder / f"{index % DISTINCT:05d}.png"
        (folder / f"{index:05d}.png").symlink_to(source)


def save_network(folder: Path, architecture: Architecture) -> None:
    """Save a network of random weights in the form of the published ones."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
    from transformers.utils import logging

    logging.disable_progress_bar()
    backbone = Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=architecture.channels,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        out_indices=list(architecture.outputs),
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=architecture.channels,
        neck_hidden_sizes=list(architecture.neck),
        fusion_hidden_size=architecture.fusion,
    )
    model = DepthAnythingForDepthEstimation(config)
    model.head.conv3.weight.data.abs_()  # it stands between two ReLUs: so not all becomes 0
    model.save_pretrained(folder)
