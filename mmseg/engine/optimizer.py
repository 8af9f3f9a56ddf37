"""Build the optimizer, with learning rates and decays per parameter name.

`paramwise_cfg.custom_keys` maps parts of parameter names to multipliers. A parameter follows the
longest key that its name contains (the alphabetically first of equal length) and no other rule for
its kind. `layer_decay` and `backbone_lr_mult` slow a vision transformer down on top of that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmseg.config.checking import checked
from mmseg.config.registry import Registry
from mmseg.config.values import NonNegative, Section
from mmseg.engine.layer_decay import vit_factors
from mmseg.system.errors import ConfigError

OURS = ("paramwise_cfg", "constructor", "sqrt_batch")  # keys that torch does not know
NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
Beta = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class CustomKeys:
    """What one of `paramwise_cfg.custom_keys` changes."""

    lr_mult: NonNegative = 1.0
    decay_mult: NonNegative = 1.0


@dataclass(frozen=True)
class ParamwiseKeys:
    """The keys of `optimizer.paramwise_cfg`."""

    custom_keys: Mapping[str, Annotated[Section, checked(CustomKeys, "custom_keys")]] | None = None
    bias_lr_mult: NonNegative = 1.0
    bias_decay_mult: NonNegative = 1.0
    norm_decay_mult: NonNegative = 1.0
    dwconv_decay_mult: NonNegative = 1.0
    # of a ViT: see `vit_factors`
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    backbone_lr_mult: NonNegative = 1.0


@dataclass(frozen=True)
class OptimizerKeys:
    """The keys that every optimizer has."""

    lr: NonNegative
    paramwise_cfg: Annotated[Section, checked(ParamwiseKeys, "paramwise_cfg")] | None = None
    # The only one that configs name; it is ours.
    constructor: Literal["DefaultOptimizerConstructor"] = "DefaultOptimizerConstructor"
    weight_decay: NonNegative = 0.0
    sqrt_batch: bool = False  # multiply lr by the root of the images per step
    foreach: bool | None = None
    fused: bool | None = None


@dataclass(frozen=True)
class AdamKeys(OptimizerKeys):
    """The keys of Adam."""

    betas: Annotated[Sequence[Beta], Field(min_length=2, max_length=2)] = (0.9, 0.999)
    eps: NonNegative = 1e-8
    amsgrad: bool = False
    capturable: bool = False


@dataclass(frozen=True)
class AdamWKeys(AdamKeys):
    """The keys of AdamW."""

    weight_decay: NonNegative = 0.01


@dataclass(frozen=True)
class SGDKeys(OptimizerKeys):
    """The keys of SGD."""

    momentum: NonNegative = 0.0
    dampening: float = 0.0
    nesterov: bool = False


OPTIMIZERS = Registry("optimizer")
OPTIMIZERS.register(reader=AdamWKeys)(torch.optim.AdamW)
OPTIMIZERS.register(reader=AdamKeys)(torch.optim.Adam)
OPTIMIZERS.register(reader=SGDKeys)(torch.optim.SGD)


@dataclass(frozen=True)
class Multipliers:
    """Factors for the learning rate and the weight decay of a parameter."""

    lr: float = 1.0
    decay: float = 1.0


def build_optimizer(
    model: nn.Module, cfg: Mapping[str, Any], images_per_step: int | None = None
) -> torch.optim.Optimizer:
    """Build the optimizer that a config describes for the trainable parameters of `model`.

    Parameters with equal multipliers share a group; its `initial_lr` is what schedules start from.
    `model` is a training method (its `trainable_parameters()` count) or a network; `cfg` has
    `type`, the arguments of that optimizer, `paramwise_cfg`, and `sqrt_batch`, which needs the
    source images of all processes that make one step.
    """
    OPTIMIZERS.check(cfg)
    arguments = {k: v for k, v in cfg.items() if k not in OURS}
    arguments["lr"] = initial_rate(cfg, images_per_step)
    if "betas" in arguments:
        arguments["betas"] = tuple(map(float, arguments["betas"]))  # torch takes no whole numbers
    groups = _groups(model, cfg.get("paramwise_cfg") or {})
    decay = arguments.get("weight_decay")
    settings = [_group(m, members, arguments["lr"], decay) for m, members in groups.items()]
    # One kernel can update all parameters if they are real and on the CPU or a GPU.
    is_fusible = all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda")
        for members in groups.values()
        for p in members
    )
    if arguments.get("foreach"):  # another way to make few kernels; torch takes only one of both
        if arguments.get("fused"):
            raise ConfigError("expected optimizer.fused or optimizer.foreach, got both. Drop one.")
        is_fusible = False
    return OPTIMIZERS.build(arguments, params=settings, fused=is_fusible or None)


def initial_rate(cfg: Mapping[str, Any], images_per_step: int | None) -> float:
    """Return the learning rate of an optimizer's section for so many images per step.

    >>> initial_rate({"lr": 0.25, "sqrt_batch": True}, 16)
    1.0
    """
    if not cfg.get("sqrt_batch"):
        return cfg["lr"]
    if images_per_step is None:
        raise ValueError(
            "expected images_per_step for optimizer.sqrt_batch=True, got None. Give "
            "build_optimizer the source images of all processes that make one step."
        )
    return cfg["lr"] * math.sqrt(images_per_step)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that the optimizer changes: those of the student."""
    named = getattr(model, "trainable_parameters", model.parameters)()
    return [p for p in named if p.requires_grad]


def _groups(model: nn.Module, rules: Mapping[str, Any]) -> dict[Multipliers, list[nn.Parameter]]:
    """Return the trainable parameters by their multipliers."""
    trainable = {id(p) for p in trainable_parameters(model)}
    layers, named = dict(model.named_modules()), dict(model.named_parameters())
    decay, mult = rules.get("layer_decay", 1.0), rules.get("backbone_lr_mult", 1.0)
    by_depth = {} if decay == mult == 1 else vit_factors(named, decay, mult)
    groups: dict[Multipliers, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if id(parameter) in trainable:
            factors = multipliers(name, layers[name.rpartition(".")[0]], rules)
            factors = replace(factors, lr=factors.lr * by_depth.get(name, 1.0))
            groups.setdefault(factors, []).append(parameter)
    return groups


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
