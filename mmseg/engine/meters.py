"""Losses and times between two lines of the log."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from mmseg.system import processes

try:
    import resource
except ModuleNotFoundError:  # Windows has none
    resource = None

NEVER = -1


@dataclass
class _Terms:
    """Losses that always come together: in one vector, so adding them takes only a few kernels."""

    sums: Tensor  # (K,) float32
    bad_iterations: Tensor  # (K,) int64, the first iteration with a value that was not finite
    bad_values: Tensor  # (K,) that value
    count: int = 0


class LossMeter:
    """Adds up losses on their device; reading them is the only copy to the host.

    It remembers the first iteration at which each term was not finite.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], _Terms] = {}

    def add(self, losses: Mapping[str, Tensor], iteration: int) -> None:
        """Add the losses of one iteration (0-dim tensors); a name may be missing in some."""
        if not losses:
            return
        names = tuple(losses)
        values = torch.stack([value.detach().float() for value in losses.values()])
        if names not in self._groups:
            self._groups[names] = _terms(torch.zeros_like(values))
        group = self._groups[names]
        is_first = ~values.isfinite() & (group.bad_iterations == NEVER)
        group.sums += values
        group.bad_iterations.masked_fill_(is_first, iteration)
        group.bad_values = torch.where(is_first, values, group.bad_values)
        group.count += 1

    def means(self) -> dict[str, float]:
        """Return the mean of each loss over iterations and processes since the last `reset`.

        All processes have to call it. `FloatingPointError` names the first term that was not
        finite, its value and iteration.
        """
        parts = processes.gather_objects(self._read())
        worst = [(*entry, rank) for rank, (_, found) in enumerate(parts) for entry in found]
        if worst:
            iteration, name, value, rank = min(worst, key=lambda entry: entry[0])
            where = f" on process {rank}" if processes.world_size() > 1 else ""
            raise FloatingPointError(
                f"expected finite losses, got {name} = {value} at iteration {iteration}{where}"
            )
        totals: dict[str, tuple[float, int]] = {}
        for values, _ in parts:
            for name, value, count in values:
                total, number = totals.get(name, (0.0, 0))
                totals[name] = (total + value, number + count)
        return {name: value / count for name, (value, count) in totals.items()}

    def reset(self) -> None:
        """Start anew."""
        self._groups = {}

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what a checkpoint keeps of this process's losses, all of them finite."""
        return [
            {"names": list(names), "sums": group.sums.to("cpu", copy=True), "count": group.count}
            for names, group in self._groups.items()
        ]

    def load_state_dict(self, state: list[dict[str, Any]], device: torch.device) -> None:
        """Restore the losses of this process."""
        self._groups = {}
        for saved in state:
            group = _terms(saved["sums"].to(device, copy=True))
            group.count = saved["count"]
            self._groups[tuple(saved["names"])] = group

    def _read(self) -> tuple[list[tuple[str, float, int]], list[tuple[int, str, float]]]:
        """Return (name, sum, count) of all terms, and (iteration, name, value) of the bad ones."""
        if not self._groups:
            return [], []
        groups = self._groups.values()
        # float64 holds each of the numbers exactly, so one copy brings all of them.
        parts = [(g.sums, g.bad_iterations, g.bad_values) for g in groups]
        table = torch.cat([torch.stack([t.double() for t in part]) for part in parts], dim=1)
        sums, iterations, values = table.tolist()
        names = [name for group in self._groups for name in group]
        counts = [group.count for group in groups for _ in range(len(group.sums))]
        first_bad = zip(iterations, names, values, strict=True)
        bad = [(int(i), name, value) for i, name, value in first_bad if i != NEVER]
        return list(zip(names, sums, counts, strict=True)), bad


def _terms(sums: Tensor) -> _Terms:
    never = torch.full_like(sums, NEVER, dtype=torch.int64)
    return _Terms(sums, never, torch.zeros_like(sums))


class StepClock:
    """Mean data and step times since the last reading, and the time that is left."""

    def __init__(self, iteration: int, max_iters: int) -> None:
        self.max_iters = max_iters
        self._start = self._lap = self._end_of_step = time.perf_counter()
        self._first = self._lap_first = iteration
        self._data_time = 0.0

    def data_is_here(self) -> None:
        """Note that the batch of the next iteration has arrived."""
        self._data_time += time.perf_counter() - self._end_of_step

    def step_is_done(self) -> None:
        """Note that an iteration, with all that follows it, has ended."""
        self._end_of_step = time.perf_counter()

    def read(self, iteration: int) -> dict[str, float]:
        """Return mean `data_time` and `time` in seconds per iteration, and start a new lap."""
        steps, now = max(1, iteration - self._lap_first), time.perf_counter()
        values = {"data_time": self._data_time / steps, "time": (now - self._lap) / steps}
        self._lap, self._lap_first, self._data_time = now, iteration, 0.0
        return values

    def pause(self, seconds: float) -> None:
        """Leave `seconds` (an evaluation) out of the current lap's step time."""
        self._lap += seconds

    def eta(self, iteration: int) -> str:
        """Return the time that is left at the mean speed so far, as `1 day, 2:03:04`."""
        done = max(1, iteration - self._first)
        seconds = (time.perf_counter() - self._start) / done * (self.max_iters - iteration)
        return str(timedelta(seconds=int(seconds)))


def memory_in_use(device: torch.device) -> int | None:
    """Return the peak memory in MB of the GPU, else of the process; None if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    if resource is None:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return used // (2**20 if sys.platform == "darwin" else 2**10)
