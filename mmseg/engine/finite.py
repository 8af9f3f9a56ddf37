"""Nothing that is worthless is saved: weights and states of optimizers are finite."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmseg.engine.updates import Updates
from mmseg.system.soundness import tensors_in


def require_finite(network: nn.Module, updates: Updates, iteration: int) -> None:
    """Raise `FloatingPointError` for NaN and infinite values; reads each device once.

    A finite loss can be followed by a step along gradients that were not finite. And a gradient
    whose square is too large for float32 leaves finite weights, which are never updated again.
    """
    weights = [("weights", *named) for named in network.named_parameters()]
    for own, optimizer in updates.own_optimizers.items():
        members = [p for group in optimizer.param_groups for p in group["params"]]
        weights += [("weights", f"{own}.{i}", p) for i, p in enumerate(members)]
    states = [
        ("states of the optimizer", name, tensor)
        for own, optimizer in {"state": updates.optimizer, **updates.own_optimizers}.items()
        for name, tensor in tensors_in(dict(enumerate(optimizer.state.values())), own)
    ]
    bad = _not_finite([*weights, *states])
    if bad:
        kind, first, _ = bad[0]
        count = sum(entry[0] == kind for entry in bad)
        total = len(weights if kind == "weights" else states)
        raise FloatingPointError(
            f"expected finite {kind}, got {count} of {total} tensors with NaN or infinite values "
            f"after iteration {iteration}, the first {first}"
        )


def _not_finite(entries: Sequence[tuple[str, str, Tensor]]) -> list[tuple[str, str, Tensor]]:
    """Return the entries whose tensor is not finite, in their order; reads each device once."""
    bad: set[int] = set()
    floats = {i: t for i, (*_, t) in enumerate(entries) if t.is_floating_point() and t.numel()}
    kinds = {(tensor.device, tensor.dtype) for tensor in floats.values()}
    for kind in kinds:  # steps may be counted on the CPU
        here = {i: t.detach() for i, t in floats.items() if (t.device, t.dtype) == kind}
        # The largest absolute value, which is NaN if any value is.
        norms = torch._foreach_norm(  # pyright: ignore[reportPrivateImportUsage]
            list(here.values()), math.inf
        )
        answers = torch.stack(norms).isfinite().tolist()
        bad |= {i for i, is_finite in zip(here, answers, strict=True) if not is_finite}
    return [entries[i] for i in sorted(bad)]
