"""A network as other programs use it: pixels as a person has them in, class probabilities out.

Legend: N images, C classes, H×W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmseg import __version__
from mmseg.apis.predicting.segmenter import palette_of, test_steps
from mmseg.datasets.pipelines.fields import as_scales
from mmseg.models.decode_heads.isa_layer import SelfAttentionBlock
from mmseg.models.segmentors import HRDAEncoderDecoder

Size = tuple[int, int]  # (H, W)
Facts = dict[str, Any]
# What of a test pipeline is inside of an exported network, or means nothing for one image.
INSIDE = ("LoadImageFromFile", "RandomFlip", "Normalize", "ImageToTensor", "DefaultFormatBundle")
INSIDE += ("Collect", "MultiScaleFlipAug")


class PixelsToProbabilities(nn.Module):
    """Normalize images as the test pipeline of the network's config does, and predict them.

    `network` is from `load_network`; its parameters do not require gradients anymore.
    """

    pixel_mean: Tensor  # in the graph, operations are called mean
    pixel_factor: Tensor

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        steps = flat(test_steps(network.cfg))
        # Images are read as BGR, and are such for a network without the step.
        step = next((one for one in steps if one["type"] == "Normalize"), {"to_rgb": False})
        self.is_rgb: bool = step.get("to_rgb", True)
        mean, std = (
            torch.tensor(step.get(key, [usual] * 3), dtype=torch.float64)[:, None, None]
            for key, usual in (("mean", 0), ("std", 1))
        )
        self.register_buffer("pixel_mean", mean.float())
        self.register_buffer("pixel_factor", (1 / std).float())

    def forward(self, image: Tensor) -> Tensor:
        """Map RGB images (N, 3, H, W) from 0 to 255 to probabilities (N, C, H, W) float32."""
        image = image.float() if self.is_rgb else image.float().flip(1)
        image = (image - self.pixel_mean) * self.pixel_factor
        return self.network.inference(image, [], rescale=False)


def why_one_size(network: Any) -> str | None:
    """Say why an exported network takes images of one size alone, or None if nothing speaks for it.

    Windows become a list of operations, whose length depends on the size.
    """
    if network.test_cfg["mode"] == "slide" or isinstance(network, HRDAEncoderDecoder):
        return "its windows are laid out for one size"
    if any(isinstance(module, SelfAttentionBlock) for module in network.modules()):
        return "its interlaced attention is laid out for one size"
    return None


def usual_size(network: Any) -> Size | None:
    """Return the size that the test pipeline of a network's config resizes images to."""
    for step in flat(test_steps(network.cfg)):
        if step.get("img_scale"):
            width, height = as_scales(step["img_scale"])[0]
            return height, width
    return None


def facts_of(network: Any, network_name: str, size: Size | None, kind: str) -> Facts:
    """Return what a user of the exported file needs to know, as plain values.

    `size` is the only one that the file takes, or None; `kind` is the type of the pixels.
    """
    height, width = size or ("height", "width")
    usual = usual_size(network)
    outside = [s["type"] for s in flat(test_steps(network.cfg)) if s["type"] not in INSIDE]
    advice = "The network was tested on images of their own size."
    if usual is not None:
        advice = f"The network was tested on images resized to fit {usual[1]}x{usual[0]} pixels."
    return {
        "classes": list(network.CLASSES),
        "palette": [list(map(int, color)) for color in palette_of(network)],
        "input": f"image: (batch, 3, {height}, {width}) {kind}, RGB from 0 to 255",
        "output": f"probabilities: (batch, {network.num_classes}, {height}, {width}) float32",
        "size": list(size) if size else "any",
        "size_advice": advice,
        "steps_before": outside,
        "mode": network.test_cfg["mode"],
        "network": network_name,
        "program": f"cdda-seg {__version__}",
    }


def flat(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a pipeline and those inside of them."""
    for step in steps:
        yield step
        yield from flat(step.get("transforms", ()))
