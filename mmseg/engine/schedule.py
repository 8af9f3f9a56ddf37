"""The learning rate as a pure function of the iteration (from 0)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmseg.config.registry import check_keys, origin
from mmseg.system.errors import ConfigError, nearest

KEYS = {"poly": ("power", "min_lr"), "fixed": ()}
COMMON = ("policy", "by_epoch", "warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch")

# factor = warmup(progress, ratio), progress from 0 to 1 over the warm-up's iterations
WARMUPS: dict[str, Callable[[float, float], float]] = {
    "linear": lambda progress, ratio: 1 - (1 - progress) * (1 - ratio),
    "constant": lambda progress, ratio: ratio,
    "exp": lambda progress, ratio: ratio ** (1 - progress),
}


class Schedule:
    """Sets the learning rate of every parameter group before an iteration.

    `poly` falls from the group's initial rate to `min_lr`, (lr - min_lr)(1 - t/T)^power + min_lr;
    `fixed` stays. During the first `warmup_iters` iterations, the rate is multiplied by a factor
    that rises from `warmup_ratio` to 1 (`linear`, `exp`) or is `warmup_ratio` (`constant`).

    >>> schedule = Schedule({'policy': 'poly', 'power': 1.0, 'min_lr': 0.0}, max_iters=4)
    >>> [schedule.rate(0.8, t) for t in range(5)]
    [0.8, 0.6000000000000001, 0.4, 0.2, 0.0]
    """

    def __init__(self, cfg: Mapping[str, Any] | None, max_iters: int) -> None:
        cfg = cfg or {"policy": "fixed"}
        self.policy = cfg.get("policy")
        if self.policy not in KEYS:
            raise ConfigError(
                f"{origin(cfg, 'policy')}unknown lr_config policy {self.policy!r}"
                f"{nearest(self.policy, KEYS)}"
            )
        check_keys(cfg, COMMON + KEYS[self.policy], f"lr_config of policy {self.policy!r}")
        for key in ("by_epoch", "warmup_by_epoch"):
            if cfg.get(key, False):
                raise ConfigError(
                    f"{origin(cfg, key)}lr_config.{key}: expected False, got {cfg[key]!r}; "
                    "runs are counted in iterations."
                )
        self.max_iters = max_iters
        self.power: float = cfg.get("power", 1.0)
        self.min_lr: float = cfg.get("min_lr", 0.0)
        self.warmup = cfg.get("warmup")
        self.warmup_iters: int = cfg.get("warmup_iters", 0) if self.warmup else 0
        self.warmup_ratio: float = cfg.get("warmup_ratio", 0.1)
        if self.warmup is not None and self.warmup not in WARMUPS:
            raise ConfigError(
                f"{origin(cfg, 'warmup')}unknown lr_config warmup {self.warmup!r}"
                f"{nearest(self.warmup, WARMUPS)}"
            )

    def rate(self, base: float, iteration: int) -> float:
        """Return the learning rate of one iteration for a group whose initial rate is `base`."""
        rate = base
        if self.policy == "poly":
            progress = min(iteration, self.max_iters) / self.max_iters
            rate = (base - self.min_lr) * (1 - progress) ** self.power + self.min_lr
        if self.warmup and iteration < self.warmup_iters:
            return rate * WARMUPS[self.warmup](iteration / self.warmup_iters, self.warmup_ratio)
        return rate

    def apply(self, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        """Set the learning rates of `iteration`."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(group.setdefault("initial_lr", group["lr"]), iteration)

    def state_dict(self) -> dict[str, Any]:
        """Return the part of a checkpoint about the schedule: its settings."""
        state: dict[str, Any] = {"policy": self.policy, "max_iters": self.max_iters}
        if self.policy == "poly":
            state |= {"power": self.power, "min_lr": self.min_lr}
        if self.warmup:
            state |= {"warmup": self.warmup, "warmup_iters": self.warmup_iters}
            state["warmup_ratio"] = self.warmup_ratio
        return state


build_schedule = Schedule  # of `cfg.lr_config`; without one the learning rate stays as it is
