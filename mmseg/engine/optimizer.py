"""Build the optimizer, with learning rates and decays per parameter name.

`paramwise_cfg.custom_keys` maps parts of parameter names to multipliers. A parameter follows the
longest key that its name contains (the alphabetically first of equal length) and no other rule.
"""

from collections.abc import Iterable, Mapping
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
    """What the learning rate and the weight decay of a parameter are multiplied with."""

    lr: float = 1.0
    decay: float = 1.0


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build the optimizer that a config describes for the trainable parameters of `model`.

    Parameters with equal multipliers share a group; its `initial_lr` is what schedules start from.

    Args:
        model: a training method (its `trainable_parameters()` count) or a network.
        cfg: `type`, the arguments of that optimizer, and `paramwise_cfg`.

    Raises:
        ConfigError: for an unknown type or key.
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
    check_rules(rules)
    trainable = {id(p) for p in trainable_parameters(model)}
    groups: dict[Multipliers, list[nn.Parameter]] = {}
    for name, parameter, module in _named_parameters(model):
        if id(parameter) in trainable:
            groups.setdefault(multipliers(name, module, rules), []).append(parameter)
    decay = arguments.get("weight_decay")
    settings = [_group(m, members, arguments["lr"], decay) for m, members in groups.items()]
    fused = _can_be_fused(groups.values()) or None
    return OPTIMIZERS.build(arguments, params=settings, fused=fused)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that the optimizer changes: those of the student."""
    named = getattr(model, "trainable_parameters", model.parameters)()
    return [p for p in named if p.requires_grad]


def multipliers(name: str, module: nn.Module, rules: Mapping[str, Any]) -> Multipliers:
    """Return the multipliers of one parameter.

    Args:
        name: its full name.
        module: the layer that owns it.
        rules: the `paramwise_cfg`.
    """
    custom = rules.get("custom_keys") or {}
    for key in sorted(sorted(custom), key=len, reverse=True):
        if key in name:
            return Multipliers(custom[key].get("lr_mult", 1.0), custom[key].get("decay_mult", 1.0))
    is_norm, is_bias = isinstance(module, NORMS), name.endswith("bias")
    is_depthwise = isinstance(module, nn.Conv2d) and 1 < module.in_channels == module.groups
    lr = rules.get("bias_lr_mult", 1.0) if is_bias and not is_norm else 1.0
    if is_norm:
        decay = rules.get("norm_decay_mult", 1.0)
    elif is_depthwise:
        decay = rules.get("dwconv_decay_mult", 1.0)
    else:
        decay = rules.get("bias_decay_mult", 1.0) if is_bias else 1.0
    return Multipliers(lr, decay)


def check_rules(rules: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an unknown key of a `paramwise_cfg`."""
    check_keys(rules, RULES, "optimizer.paramwise_cfg")
    for key, values in (rules.get("custom_keys") or {}).items():
        check_keys(values, CUSTOM, f"optimizer.paramwise_cfg.custom_keys[{key!r}]")


def _group(
    factors: Multipliers, members: list[nn.Parameter], lr: float, decay: float | None
) -> dict[str, Any]:
    """Return one parameter group; a config without `weight_decay` keeps the optimizer's own."""
    rate = lr * factors.lr
    group: dict[str, Any] = {"params": members, "lr": rate, "initial_lr": rate}
    if decay is not None:
        group["weight_decay"] = decay * factors.decay
    return group


def _named_parameters(model: nn.Module) -> Iterable[tuple[str, nn.Parameter, nn.Module]]:
    """Yield (full name, parameter, owning layer) in the order of `model.named_parameters()`."""
    layers = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        yield name, parameter, layers[name.rpartition(".")[0]]


def _can_be_fused(groups: Iterable[list[nn.Parameter]]) -> bool:
    """Tell whether one kernel can update all parameters: real ones on the CPU or a GPU."""
    return all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda")
        for group in groups
        for p in group
    )
