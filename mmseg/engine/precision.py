"""Half precision: the type of forward passes, and the scale that keeps small gradients alive.

Weights, gradients and optimizers stay in float32. float16 has a small range, so its losses are
multiplied by a scale before back-propagation; gradients are divided by it before the step, and a
step with gradients that are not finite is skipped. bfloat16 needs none of that.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from mmseg.config.registry import check_keys, origin
from mmseg.system.errors import ConfigError, nearest

FP16, AMP = ("loss_scale",), ("dtype", "loss_scale")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
SCALER = ("init_scale", "growth_factor", "backoff_factor", "growth_interval")
INERT_SCALER = ("mode", "enabled")
BFLOAT16_SINCE = (8, 0)  # compute capability of the first GPUs that have it
FAMILY_SCALE = 512.0  # for configs with fp16=dict() alone


@dataclass(frozen=True)
class PrecisionSettings:
    """Precision as a config sets it; `dtype` None is full precision."""

    dtype: str | None = None
    fixed_scale: float | None = None  # of the loss; with float16, None adapts it to the gradients
    scaler: Mapping[str, Any] = field(default_factory=dict)  # arguments of the gradient scaler


def read_precision(cfg: Mapping[str, Any]) -> PrecisionSettings:
    """Read `fp16=dict(loss_scale=…)`, its older place `optimizer_config`, or `amp=dict(dtype=…)`.

    `ConfigError` for an unknown key or type, or both fp16 and amp.
    """
    hook = cfg.get("optimizer_config") or {}
    is_half_hook = "Fp16" in str(hook.get("type", ""))
    fp16, amp = _section(cfg, "fp16", FP16), _section(cfg, "amp", AMP)
    if amp is not None and (fp16 is not None or is_half_hook):
        raise ConfigError(
            f"{origin(cfg, 'amp')}expected fp16 or amp, got both; remove one of them."
        )
    if amp is None:
        if fp16 is None and not is_half_hook:
            return PrecisionSettings()
        scale = {"loss_scale": FAMILY_SCALE, **hook, **(fp16 or {})}["loss_scale"]
        return _with_scale("float16", scale, "fp16.loss_scale")
    dtype = amp.get("dtype", "float16")
    if dtype not in DTYPES:
        raise ConfigError(
            f"{origin(amp, 'dtype')}unknown amp.dtype {dtype!r}{nearest(dtype, DTYPES)}"
        )
    if dtype == "float16":
        return _with_scale(dtype, amp.get("loss_scale", "dynamic"), "amp.loss_scale")
    if "loss_scale" in amp:
        raise ConfigError(
            f"{origin(amp, 'loss_scale')}expected amp.loss_scale with dtype='float16' only, got "
            f"dtype={dtype!r}, which needs no scale; remove it."
        )
    return PrecisionSettings(dtype)


class Precision:
    """Runs forward passes in the type of the settings; its `scaler` scales losses if necessary.

    `ConfigError` for a GPU that lacks the type.
    """

    def __init__(self, settings: PrecisionSettings, device: torch.device) -> None:
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


def _section(cfg: Mapping[str, Any], name: str, known: tuple[str, ...]) -> Mapping[str, Any] | None:
    section = cfg.get(name)
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise ConfigError(
            f"{origin(cfg, name)}expected {name}=dict({known[0]}=…) or None, got {section!r}."
        )
    check_keys(section, known, name)
    return section


def _with_scale(dtype: str, scale: Any, name: str) -> PrecisionSettings:
    """Read a loss scale as the family writes it: 'dynamic', a number, or the scaler's arguments."""
    if scale == "dynamic":
        return PrecisionSettings(dtype)
    if isinstance(scale, Mapping):
        check_keys(scale, (*SCALER, *INERT_SCALER), name)
        return PrecisionSettings(dtype, scaler={k: v for k, v in scale.items() if k in SCALER})
    if isinstance(scale, bool) or not isinstance(scale, int | float) or scale <= 0:
        raise ConfigError(
            f"{name}: expected 'dynamic', a number above 0 or dict(init_scale=…), got {scale!r}."
        )
    return PrecisionSettings(dtype, fixed_scale=float(scale))
