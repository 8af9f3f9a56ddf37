"""From accumulated gradients to steps of the optimizers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.run_config import RunConfig
from mmseg.engine.optimizer import trainable_parameters
from mmseg.engine.precision import Precision
from mmseg.system.gradient_averaging import average_gradients

Gradients = dict[str, Tensor]  # by the name of the parameter


class Updates:
    """Clears gradients before a group of iterations, and steps every optimizer after it.

    An iteration is one batch. `cumulative_iters` of them make a group (the last one may be
    shorter), whose mean gradient over iterations and processes makes one step. Groups start at
    multiples of `cumulative_iters`. `optimizer` is the student's; the method may have its own.
    """

    def __init__(
        self,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: RunConfig,
        precision: Precision,
    ) -> None:
        self.method, self.optimizer = method, optimizer
        own: Any = getattr(method, "own_optimizers", dict)
        self.own_optimizers: dict[str, torch.optim.Optimizer] = own()
        self.group_size = settings.updates.cumulative_iters
        self.max_iters = settings.runner.max_iters
        self.clipping, self.precision = settings.updates.grad_clip, precision

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimizers, the student's first."""
        return [self.optimizer, *self.own_optimizers.values()]

    def before(self, iteration: int) -> None:
        """Clear the gradients if `iteration` begins a group."""
        if iteration % self.group_size == 0:
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)

    def after(self, iteration: int) -> dict[str, Tensor]:
        """Step if `iteration` ends a group, and return values to log."""
        done = iteration + 1
        size = done - iteration // self.group_size * self.group_size
        if size < self.group_size and done < self.max_iters:
            return {}
        parameters = [p for o in self.optimizers for g in o.param_groups for p in g["params"]]
        average_gradients(parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if size > 1 and gradients:
            torch._foreach_div_(gradients, float(size))  # pyright: ignore[reportPrivateImportUsage]
        return self._step()

    def _step(self) -> dict[str, Tensor]:
        """Unscale all gradients, clip the student's, step, and return its norm before clipping."""
        scaler, logged = self.precision.scaler, {}
        used = [
            optimizer
            for optimizer in self.optimizers
            if any(p.grad is not None for g in optimizer.param_groups for p in g["params"])
        ]
        for optimizer in used:
            scaler.unscale_(optimizer)
        if clip := self.clipping:
            parameters = trainable_parameters(self.method)
            norm = nn.utils.clip_grad_norm_(parameters, clip.max_norm, clip.norm_type)
            # A scaled gradient may overflow (the step is skipped then); logged values must not.
            logged = {} if scaler.is_enabled() else {"grad_norm": norm}
        for optimizer in used:
            scaler.step(optimizer)  # leaves it out if a scaled gradient is not finite
        if used:
            scaler.update(self.precision.fixed_scale)
        return logged

    def pending_gradients(self, iteration: int) -> Gradients | None:
        """Return this process's gradients that wait for the end of their group.

        None between two groups; `iteration` iterations are finished.
        """
        if iteration % self.group_size == 0 or iteration == self.max_iters:
            return None
        named = self.method.named_parameters()
        return {name: p.grad.detach().cpu() for name, p in named if p.grad is not None}

    def restore_gradients(self, gradients: Mapping[str, Tensor]) -> None:
        """Put back what `pending_gradients` returned."""
        parameters = dict(self.method.named_parameters())
        for name, gradient in gradients.items():
            parameters[name].grad = gradient.to(parameters[name], copy=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the part of a checkpoint about optimizers and the scale of the loss."""
        own = {name: o.state_dict() for name, o in self.own_optimizers.items()}
        scaler = self.precision.state_dict()
        return {
            "optimizer": self.optimizer.state_dict(),
            **({"own_optimizers": own} if own else {}),
            **({"scaler": scaler} if scaler else {}),
        }
