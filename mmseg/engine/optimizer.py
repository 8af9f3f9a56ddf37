"""Build the optimizer, with learning rates and decays per parameter name.

`paramwise_cfg.custom_keys` maps parts of parameter names to multipliers. A parameter follows the
longest key that its name contains (the alphabetically first of equal length) and no other rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmseg.config.registry import Registry, check_keys, origin
from mmseg.system.errors import ConfigError

OPTIMIZERS = Registry("optimizer")
for _optimizer in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD):
    OPTIMIZERS.register()(_optimizer)

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
RULES = ("custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
CUSTOM = ("lr_mult", "decay_mult")
CONSTRUCTOR = "DefaultOptimizerConstructor"  # the only `constructor` that configs name; it is ours


@dataclass(frozen=True)
class Multipliers:
    """Factors for the learning rate and the weight decay of a parameter."""

    lr: float = 1.0
    decay: float = 1.0


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build the optimizer that a config describes for the trainable parameters of `model`.

    Parameters with equal multipliers share a group; its `initial_lr` is what schedules start from.
    `model` is a training method (its `trainable_parameters()` count) or a network; `cfg` has
    `type`, the arguments of that optimizer, and `paramwise_cfg`.
    """
    arguments = cfg.copy() if hasattr(cfg, "copy") else dict(cfg)  # type: ignore[attr-defined]
    rules = arguments.pop("paramwise_cfg", None) or {}
    constructor = arguments.pop("constructor", CONSTRUCTOR)
    if constructor != CONSTRUCTOR:
        raise ConfigError(
            f"{origin(cfg, 'constructor')}expected the optimizer constructor {CONSTRUCTOR!r}, got "
            f"{constructor!r}; remove the key and use paramwise_cfg."
        )
    if "lr" not in arguments:
        raise ConfigError(f"{origin(cfg)}the optimizer needs the key 'lr', which is not set.")
    check_keys(rules, RULES, "optimizer.paramwise_cfg")
    for key, values in (rules.get("custom_keys") or {}).items():
        check_keys(values, CUSTOM, f"optimizer.paramwise_cfg.custom_keys[{key!r}]")
    trainable = {id(p) for p in trainable_parameters(model)}
    layers = dict(model.named_modules())
    groups: dict[Multipliers, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in trainable:
            factors = multipliers(name, layers[name.rpartition(".")[0]], rules)
            groups.setdefault(factors, []).append(parameter)
    decay = arguments.get("weight_decay")
    settings = [_group(m, members, arguments["lr"], decay) for m, members in groups.items()]
    # One kernel can update all parameters if they are real and on the CPU or a GPU.
    is_fusible = all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda")
        for members in groups.values()
        for p in members
    )
    return OPTIMIZERS.build(arguments, params=settings, fused=is_fusible or None)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that the optimizer changes: those of the student."""
    named = getattr(model, "trainable_parameters", model.parameters)()
    return [p for p in named if p.requires_grad]


def multipliers(name: str, module: nn.Module, rules: Mapping[str, Any]) -> Multipliers:
    """Return the multipliers of parameter `name` of layer `module` by the `paramwise_cfg`."""
    custom = rules.get("custom_keys") or {}
    for key in sorted(sorted(custom), key=len, reverse=True):
        if key in name:
            return Multipliers(custom[key].get("lr_mult", 1.0), custom[key].get("decay_mult", 1.0))
    is_norm, is_bias = isinstance(module, NORMS), name.endswith("bias")
    is_depthwise = isinstance(module, nn.Conv2d) and 1 < module.in_channels == module.groups
    if is_norm:
        return Multipliers(decay=rules.get("norm_decay_mult", 1.0))
    lr, decay = rules.get("bias_lr_mult", 1.0) if is_bias else 1.0, 1.0
    if is_depthwise:
        decay = rules.get("dwconv_decay_mult", 1.0)
    elif is_bias:
        decay = rules.get("bias_decay_mult", 1.0)
    return Multipliers(lr, decay)


def _group(
    factors: Multipliers, members: list[nn.Parameter], lr: float, decay: float | None
) -> dict[str, Any]:
    """Return one parameter group; a config without `weight_decay` keeps the optimizer's own."""
    rate = lr * factors.lr
    group: dict[str, Any] = {"params": members, "lr": rate, "initial_lr": rate}
    if decay is not None:
        group["weight_decay"] = decay * factors.decay
    return group
