"""A depth network: any `AutoModelForDepthEstimation` of `transformers`.

Legend: B images, h×w network input and output, H×W image.
"""

import platform
from functools import cached_property
from typing import Any

import cv2
import torch
from torch import Tensor

from mmseg.preprocessing.depth_maps.checkpoints import Checkpoint, find_checkpoint
from mmseg.preprocessing.depth_maps.inputs import InputRule
from mmseg.preprocessing.depth_maps.loading import load_checkpoint, require_transformers
from mmseg.preprocessing.depth_maps.scaling import (
    NEAREST,
    SCALING,
    Stored,
    nearness,
    require_quantity,
    to_stored,
    upsample,
)


class Network:
    """Maps of pictures.

    rule: how a picture becomes the input; quantity: what the output is, 'inverse' depth or 'metric'
    depth in meters; device: that computes; amp: whether in half precision.
    """

    def __init__(
        self, model: Any, checkpoint: Checkpoint, rule: InputRule, quantity: str, amp: bool = False
    ) -> None:
        self.rule, self.quantity = rule, quantity
        self.device: torch.device = next(model.parameters()).device
        self._model, self._checkpoint, self.amp = model, checkpoint, amp

    @torch.inference_mode()
    def maps(self, pixels: Tensor, size: tuple[int, int]) -> Stored:
        """Return the stored levels (B, H, W) of inputs (B, 3, h, w) for pictures of `size` (H, W).

        The output of the network is brought to the size of the picture, then inverted if it is
        metric, then scaled, all in float32.
        """
        with torch.autocast(self.device.type, self._low_precision, enabled=self.amp):
            prediction = self._model(pixel_values=pixels).predicted_depth  # (B, h, w)
        return to_stored(nearness(upsample(prediction, size), self.quantity))

    def recipe(self) -> dict[str, Any]:
        """Return what decides the maps, as plain values of JSON."""
        return {
            "source": "model",
            "weights_sha256": self._weights_sha256,
            "quantity": self.quantity,
            "input": self.rule.as_dict(),
            "scaling": SCALING,
        }

    def details(self) -> dict[str, Any]:
        """Return what else is worth to know of the maps, as plain values of JSON."""
        import transformers

        return {
            "model": self._checkpoint.name,
            "architecture": type(self._model).__name__,
            "revision": self._checkpoint.revision,
            "precision": self._precision,
            "versions": {
                "python": platform.python_version(),
                "torch": str(torch.__version__),
                "transformers": transformers.__version__,
                "opencv": cv2.__version__,
            },
        }

    def describe(self) -> list[str]:
        """Return lines that tell a person what makes the maps."""
        checkpoint = self._checkpoint
        facts = [type(self._model).__name__]
        facts += [f"revision {checkpoint.revision}"] if checkpoint.revision else []
        facts += [f"license {checkpoint.license}"] if checkpoint.license else []
        output = "inverse depth"
        if self.quantity == "metric":
            output = f"metric depth: inverted (1 / depth, of at least {NEAREST} m)"
        return [
            f"Model: {checkpoint.name} ({', '.join(facts)})",
            f"Input: {self.rule.describe()}",
            f"Output: {output}; {SCALING}",
            f"Computed in {self._precision} on {self.device}",
        ]

    @cached_property
    def _weights_sha256(self) -> str:
        return self._checkpoint.weights_sha256()

    @property
    def _low_precision(self) -> torch.dtype:
        return torch.float16 if self.device.type == "cuda" else torch.bfloat16

    @property
    def _precision(self) -> str:
        return (
            f"autocast to {str(self._low_precision).removeprefix('torch.')}"
            if self.amp
            else "float32"
        )


def load_network(
    model: str, device: torch.device, amp: bool = False, quantity: str | None = None
) -> Network:
    """Load a depth network.

    Args:
        model: 'small', 'base' or 'large' (Depth Anything V2), a name on the hub or a local folder.
        device: to compute on.
        amp: compute in float16 on CUDA, in bfloat16 elsewhere, where that is safe.
        quantity: 'inverse' or 'metric'; None for what the type of the network is known to give.

    Raises:
        OSError, ValueError, ImportError: with a sentence for the user.
    """
    if quantity is not None:
        require_quantity(quantity)
    require_transformers()
    checkpoint = find_checkpoint(model)
    loaded = load_checkpoint(checkpoint, quantity)
    return Network(loaded.network.to(device), checkpoint, loaded.rule, loaded.quantity, amp)
