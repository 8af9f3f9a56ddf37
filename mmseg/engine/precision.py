"""Half precision: the type of forward passes, and the scale that keeps small gradients alive.

Weights, gradients and optimizers stay in float32. float16 has a small range, so its losses are
multiplied by a scale before back-propagation; gradients are divided by it before the step, and a
step with gradients that are not finite is skipped. bfloat16 needs none of that.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mmseg.config.sections import PrecisionConfig
from mmseg.system.errors import ConfigError

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
SHORT_NAMES = {"bf16": "bfloat16", "fp16": "float16"}  # of options
BFLOAT16_SINCE = TF32_SINCE = (8, 0)  # compute capability of the first GPUs that have them


class Precision:
    """Runs forward passes in the type of the settings; its `scaler` scales losses if necessary.

    `ConfigError` for a GPU that lacks the type.
    """

    def __init__(self, settings: PrecisionConfig, device: torch.device) -> None:
        # Where a GPU lacks bfloat16, torch would emulate it, slowly.
        if settings.dtype == "bfloat16" and (other := half_for(device)) != "bfloat16":
            major, minor = torch.cuda.get_device_capability(device)
            raise ConfigError(
                "expected a GPU of compute capability 8.0 or newer for amp.dtype='bfloat16', got "
                f"{device} ({torch.cuda.get_device_name(device)}) of {major}.{minor}; set "
                f"amp.dtype={other!r}, or amp=None for full precision."
            )
        self.dtype, self.device = DTYPES[settings.dtype] if settings.dtype else None, device
        scale = self.fixed_scale = settings.fixed_scale
        arguments = settings.scaler if scale is None else {"init_scale": scale}
        is_scaling = self.dtype is torch.float16  # without it, the scaler changes nothing
        self.scaler = torch.amp.GradScaler(device.type, enabled=is_scaling, **arguments)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for forward passes."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def scale(self) -> float | None:
        """Return the scale now (reads the device), None where nothing is scaled."""
        return self.scaler.get_scale() if self.scaler.is_enabled() else None

    def state_dict(self) -> dict[str, Any]:
        """Return the part of a checkpoint about the scale; empty without one."""
        return self.scaler.state_dict()


def half_for(device: torch.device) -> str:
    """Return the `amp.dtype` that suits a device: bfloat16, unless it is a GPU that lacks it."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) >= BFLOAT16_SINCE:
        return "bfloat16"
    return "float16"


def use_tf32(is_wanted: bool | None, device: torch.device) -> list[str]:
    """Choose whether float32 may be rounded to TF32, and return the line for the log.

    None leaves torch's default, which rounds in convolutions but not in matrix products. Nothing is
    rounded where operations ask for full precision, as the depth metric does.
    """
    if is_wanted is None:
        return []
    torch.backends.cuda.matmul.allow_tf32 = is_wanted
    torch.backends.cudnn.allow_tf32 = is_wanted
    if not is_wanted:
        return ["tf32=False: products and convolutions of float32 are not rounded"]
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < TF32_SINCE:
        return [
            f"tf32=True has no effect on {device}: only GPUs of compute capability 8.0 or newer "
            "(Ampere and later) round to TF32"
        ]
    return ["tf32=True: products and convolutions of float32 round their inputs to 10 bits"]
