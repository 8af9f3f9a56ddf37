"""Nothing that is worthless is saved: weights and states of optimizers are finite."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg.engine.updates import Updates
from mmseg.system.soundness import tensors_in


def require_finite(network: nn.Module, updates: Updates, iteration: int) -> None:
    """Raise `FloatingPointError` for NaN and infinite values; reads each device a few times.

    A finite loss can be followed by a step along gradients that were not finite. And a gradient
    whose square is too large for float32 leaves finite weights, which are never updated again.
    """
    _require(list(network.named_parameters()), "weights", "parameters", iteration)
    for name, optimizer in {"state": updates.optimizer, **updates.own_optimizers}.items():
        states = dict(enumerate(optimizer.state.values()))
        _require(list(tensors_in(states, name)), "states of the optimizer", "tensors", iteration)


def _require(named: Sequence[tuple[str, Tensor]], what: str, things: str, iteration: int) -> None:
    groups: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, tensor in named:  # an optimizer may count its steps on the CPU
        groups.setdefault(tensor.device, []).append((name, tensor))
    bad = []
    for group in groups.values():
        is_finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in group]).tolist()
        bad += [name for (name, _), is_good in zip(group, is_finite, strict=True) if not is_good]
    if bad:
        raise FloatingPointError(
            f"expected finite {what}, got {len(bad)} of {len(named)} {things} with NaN or "
            f"infinite values after iteration {iteration}, the first {bad[0]}"
        )
