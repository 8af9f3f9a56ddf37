"""A depth network: any `AutoModelForDepthEstimation` of `transformers`, loaded whole or refused.

Legend: B images, h×w network input and output, H×W image.
"""

import platform
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from itertools import takewhile
from logging import CRITICAL
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mmseg.datasets.depth.bins import write_map
from mmseg.preprocessing.depth_maps import network_files, scaling
from mmseg.preprocessing.depth_maps.images import Batch, InputRule, read_batches, read_rule
from mmseg.preprocessing.depth_maps.jobs import Job, Outcomes, counted
from mmseg.preprocessing.depth_maps.network_files import LICENSES, NetworkFiles
from mmseg.system.full_memory import explains_full_memory
from mmseg.system.safe_loading import UNREADABLE

# Weights that networks have, but never use: published files lack them.
UNUSED = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.")


class Network:
    """Makes maps of 'inverse' or 'metric' depth (`quantity`), with `amp` in half precision."""

    def __init__(
        self, model: Any, files: NetworkFiles, rule: InputRule, quantity: str, amp: bool
    ) -> None:
        self.model, self.files, self.rule = model, files, rule
        self.quantity, self.amp = quantity, amp
        self.device: torch.device = next(model.parameters()).device
        self.is_cuda = self.device.type == "cuda"
        self.low = "float16" if self.is_cuda else "bfloat16"
        self.precision = f"autocast to {self.low}" if amp else "float32"

    def recipe(self) -> dict[str, Any]:
        """Return what decides the maps, as plain values of JSON."""
        return {
            "source": "model",
            "weights_sha256": self.files.weights_sha256(),
            "quantity": self.quantity,
            "input": asdict(self.rule),
            "scaling": scaling.SCALING,
        }

    def details(self) -> dict[str, Any]:
        """Return what else is worth knowing about the maps, as plain values of JSON."""
        import transformers

        modules = {"torch": torch, "transformers": transformers, "opencv": cv2}
        versions = {name: str(module.__version__) for name, module in modules.items()}
        return {
            "model": self.files.name,
            "architecture": type(self.model).__name__,
            "revision": self.files.revision,
            "precision": self.precision,
            "versions": {"python": platform.python_version(), **versions},
        }

    def describe(self) -> list[str]:
        """Return lines that tell a person what makes the maps."""
        name, revision = self.files.name, self.files.revision
        facts = [type(self.model).__name__]
        facts += [f"revision {revision}"] if revision else []
        facts += [f"license {LICENSES[name]}"] if name in LICENSES else []
        inverted = f"metric depth: inverted (1 / depth, of at least {scaling.NEAREST} m)"
        output = inverted if self.quantity == "metric" else "inverse depth"
        rule = self.rule
        size = f"{rule.fit} {rule.size[0]}x{rule.size[1]}" if rule.fit != "own" else "own size"
        return [
            f"Model: {name} ({', '.join(facts)})",
            f"Input: {size}, multiples of {rule.multiple}, {rule.interpolation} interpolation",
            f"Output: {output}; {scaling.SCALING}",
            f"Computed in {self.precision} on {self.device}",
        ]

    @torch.inference_mode()
    def maps(self, pixels: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return what is stored (see `to_stored`) of inputs (B, 3, h, w) of pictures H×W."""
        low = getattr(torch, self.low)  # where that is safe
        with torch.autocast(self.device.type, low, enabled=self.amp):
            prediction = self.model(pixel_values=pixels).predicted_depth  # (B, h, w)
        values = scaling.upsample(prediction, size)  # from here on in float32
        return scaling.to_stored(scaling.nearness(values, self.quantity))

    def outcomes(
        self, jobs: Sequence[Job], batch_size: int, workers: int, must_stop: Callable[[], bool]
    ) -> Outcomes:
        """Make maps: workers read images, the device computes until `must_stop`, threads write."""
        writing: list[Future[str | None]] = []
        parts = read_batches(jobs, self.rule, batch_size, workers, pin_memory=self.is_cuda)
        with ThreadPoolExecutor(max(1, workers // 2)) as pool, closing(parts):
            for part in takewhile(lambda _: not must_stop(), parts):
                if isinstance(part, str):
                    yield part
                    continue
                levels, is_finite = self._compute(part)
                yield from (future.result() for future in writing)  # of the former batch
                maps = zip(part.jobs, levels, is_finite, strict=True)
                writing = [pool.submit(self._write, *each) for each in maps]
            yield from (future.result() for future in writing)

    def _compute(self, batch: Batch) -> tuple[np.ndarray, list[bool]]:
        """Return the levels of a batch, (B, H, W) uint8, and whether they are those of a map."""
        (height, width), count = batch.size, len(batch.jobs)  # the loader makes tuples lists
        change = "on a device with more memory" if self.amp else "with --amp"
        change = change if count == 1 else "with a smaller --batch-size"
        with explains_full_memory(
            lambda: f"a batch of {counted(count, 'image')} of {width}x{height} pixels",
            lambda: f"start the same command again to continue, {change}.",
        ):
            pixels = batch.pixels.to(self.device, non_blocking=True)
            levels, is_finite = self.maps(pixels, (height, width))
            return levels.cpu().numpy(), is_finite.tolist()

    def _write(self, job: Job, levels: np.ndarray, is_finite: bool) -> str | None:
        """Write a map; return why there is none, if so."""
        if is_finite:
            return write_map(job.output, levels)
        advice = "start the command again without --amp, or " if self.amp else ""
        return (
            f"expected finite depth of the image '{job.image}', got NaN or infinity from the "
            f"network; {advice}check the weights."
        )


def load_network(
    model: str, device: torch.device, amp: bool = False, quantity: str | None = None
) -> Network:
    """Load a network, or raise a sentence; without `quantity`, its type has to be a known one."""
    require_transformers()
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForDepthEstimation
    from transformers.utils import logging

    logging.set_verbosity(CRITICAL)  # what matters of a network's files is checked here
    logging.disable_progress_bar()
    files = network_files.find_network(model)
    try:
        network, report = AutoModelForDepthEstimation.from_pretrained(
            files.folder,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (*UNREADABLE, OSError, ImportError, SafetensorError, StrictDataclassError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".: ")
        raise ValueError(
            f"expected a depth network that this version of transformers knows in "
            f"'{files.folder}', got: {reason}; {network_files.advice(files.name)}"
        ) from error
    random = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    if random := sorted(name for name in random if not UNUSED.search(name)):
        raise ValueError(
            f"expected all weights of a depth network in '{files.folder}', got a file without "
            f"{len(random)} of them (or of other shapes), such as {random[0]}; "
            f"{network_files.advice(files.name)}"
        )
    quantity = quantity or known_quantity(network.config, files.name)
    is_depth_anything = network.config.model_type == "depth_anything"
    rule = read_rule(files.folder / network_files.RULE_FILE, is_depth_anything)
    return Network(network.eval().to(device), files, rule, quantity, amp)


def require_transformers() -> None:
    """Raise a sentence for the user if the package is missing or too old."""
    try:
        from transformers import AutoModelForDepthEstimation  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"expected the package transformers, version 5 or newer, got: {error}; install it: "
            'pip install "cdda-seg[depth]" (or pip install "transformers>=5").'
        ) from error


def known_quantity(config: Any, name: str) -> str:
    """Return what networks of a type predict."""
    kind, backbone = config.model_type, getattr(config, "backbone_config", None)
    is_metric = {
        "depth_anything": getattr(config, "depth_estimation_type", None) == "metric",
        "depth_pro": False,  # before its own post-processing
        # With this backbone it was trained on meters of NYU and KITTI.
        "dpt": getattr(backbone, "model_type", None) == "dinov2",
        "glpn": True,
        "zoedepth": True,
    }
    if kind not in is_metric:
        raise ValueError(
            f"expected a network of a known output, got '{kind}' of '{name}'; say what it "
            "predicts: --quantity inverse (large is near) or --quantity metric (meters)."
        )
    return "metric" if is_metric[kind] else "inverse"
