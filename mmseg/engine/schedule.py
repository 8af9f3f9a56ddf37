"""The learning rate as a pure function of the iteration (from 0)."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmseg.config.checking import read_section
from mmseg.config.sections import ScheduleConfig

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

    `warmup_linear` is a policy of its own: the rate rises linearly from `warmup_ratio` times the
    initial one at iteration 0 to all of it at `warmup_iters` - 1, and then goes on at 1 - t/T
    times it, as if it had fallen from the start.

    >>> schedule = Schedule(ScheduleConfig(policy="poly"), max_iters=4)
    >>> [schedule.rate(0.8, t) for t in range(5)]
    [0.8, 0.6000000000000001, 0.4, 0.2, 0.0]
    """

    def __init__(self, settings: ScheduleConfig, max_iters: int) -> None:
        self.settings, self.max_iters = settings, max_iters

    def rate(self, base: float, iteration: int) -> float:
        """Return the learning rate of one iteration for a group whose initial rate is `base`."""
        s, rate = self.settings, base
        if s.policy == "warmup_linear":
            return base * self._warmup_linear(iteration)
        if s.policy == "poly":
            progress = min(iteration, self.max_iters) / self.max_iters
            rate = (base - s.min_lr) * (1 - progress) ** s.power + s.min_lr
        if s.warmup and iteration < s.warmup_iters:
            return rate * WARMUPS[s.warmup](iteration / s.warmup_iters, s.warmup_ratio)
        return rate

    def _warmup_linear(self, iteration: int) -> float:
        s = self.settings
        if iteration < s.warmup_iters:
            progress = iteration / max(s.warmup_iters - 1, 1)
            return s.warmup_ratio + (1 - s.warmup_ratio) * progress
        return 1 - min(iteration, self.max_iters) / self.max_iters

    def apply(self, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        """Set the learning rates of `iteration`."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(group.setdefault("initial_lr", group["lr"]), iteration)

    def state_dict(self) -> dict[str, Any]:
        """Return the part of a checkpoint about the schedule: its settings."""
        s = self.settings
        state: dict[str, Any] = {"policy": s.policy, "max_iters": self.max_iters}
        if s.policy == "poly":
            state |= {"power": s.power, "min_lr": s.min_lr}
        if s.warmup:
            state["warmup"] = s.warmup
        if s.warms_up:
            state |= {"warmup_iters": s.warmup_iters, "warmup_ratio": s.warmup_ratio}
        return state


def build_schedule(cfg: Mapping[str, Any] | None, max_iters: int) -> Schedule:
    """Build the schedule of an `lr_config`; without one the learning rate stays as it is."""
    return Schedule(
        read_section(ScheduleConfig, cfg or {"policy": "fixed"}, "lr_config"), max_iters
    )
