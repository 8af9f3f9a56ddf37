"""What to try when memory is full: only what the run does not do yet."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import BACKBONES
from mmseg.config.run_config import RunConfig
from mmseg.engine.fitting import WITH_CP, recomputing_keys
from mmseg.engine.precision import SHORT_NAMES, half_for
from mmseg.models.segmentors.slide_inference import windows_per_call
from mmseg.system.errors import ConfigError
from mmseg.system.full_memory import explains_full_memory

GOES_ON = "with --resume auto the run goes on"


def explains_full_step(
    batch: Mapping[str, Any], device: torch.device, settings: RunConfig
) -> AbstractContextManager[None]:
    """Raise `FullMemoryError` for a training step that does not fit into memory."""
    samples = settings.data.samples_per_gpu
    return explains_full_memory(
        lambda: (
            f"a training step of {samples} sample(s) of {_size(batch['img'])} "
            f"pixels in {settings.precision.dtype or 'float32'} on {_named(device)}"
        ),
        lambda: _step_advice(device, settings),
    )


def explains_full_evaluation(
    segmentor: nn.Module, batch: Mapping[str, Any], device: torch.device
) -> AbstractContextManager[None]:
    """Raise `FullMemoryError` for an image whose labeling does not fit into memory."""
    return explains_full_memory(
        lambda: (
            f"the evaluation of an image of {_size(batch['img'][0])} pixels on {_named(device)}"
        ),
        lambda: _evaluation_advice(segmentor),
    )


def _step_advice(device: torch.device, settings: RunConfig) -> str:
    """Name what needs less memory: recomputing, half precision, a part of the batch at a time."""
    choices = []
    if keys := _keys_to_recompute(settings):
        values = " ".join(f"{key}=True" for key in keys)
        choices.append(f"--cfg-options {values} (the same numbers, more time; {GOES_ON})")
    if settings.precision.dtype is None:
        short = {name: option for option, name in SHORT_NAMES.items()}[half_for(device)]
        choices.append(f"--amp {short} (half precision; {GOES_ON})")
    samples = settings.data.samples_per_gpu
    if samples > 1:
        parts = next(n for n in range(2, samples + 1) if samples % n == 0)
        choices.append(
            f"--cfg-options data.samples_per_gpu={samples // parts} "
            f"optimizer_config.cumulative_iters={settings.updates.cumulative_iters * parts} "
            f"runner.max_iters={settings.runner.max_iters * parts} (a new run, with the same "
            f"images per step; multiply warm-up and intervals by {parts}, too)"
        )
    if choices:
        return f"add {', or '.join(choices)}."
    return "train on a device with more memory, or with a smaller crop or backbone."


def _keys_to_recompute(settings: RunConfig) -> list[str]:
    """Return the keys that make the backbone keep fewer activations; none if it cannot, or does."""
    backbone = settings.model.get("backbone")
    if backbone is None or backbone.get(WITH_CP):
        return []
    try:
        BACKBONES.check({**backbone, WITH_CP: True})
    except ConfigError:  # a backbone of the user's own, which has no such key
        return []
    return recomputing_keys({"model": settings.model})


def _evaluation_advice(segmentor: nn.Module) -> str:
    """Name the key that sends less through the network at once."""
    test_cfg: Any = getattr(segmentor, "test_cfg", {})
    device = next(segmentor.parameters()).device
    if windows_per_call(test_cfg, getattr(segmentor, "window_size", None), device) > 1:
        change = "add --cfg-options model.test_cfg.window_batch_size=1"
    elif test_cfg.get("mode") == "whole":
        change = (
            "add --cfg-options model.test_cfg.mode=slide 'model.test_cfg.crop_size=(512,512)' "
            "'model.test_cfg.stride=(256,256)'"
        )
    else:
        change = "train with --no-validate and test on a device with more memory"
    return f"{change} (with --resume auto a training run goes on)."


def _size(images: Tensor) -> str:
    """Write the size of images (..., H, W) as 2048x1024."""
    height, width = images.shape[-2:]
    return f"{width}x{height}"


def _named(device: torch.device) -> str:
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}"
