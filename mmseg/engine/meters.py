"""Losses and times between two lines of the log."""

import resource
import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from mmseg import distributed


class LossMeter:
    """Adds up losses on their device; reading them is the only copy to the host."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of one iteration (0-dim tensors); a name may be missing in some."""
        for name, value in losses.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each loss over iterations and processes since the last `reset`.

        Raises:
            FloatingPointError: if a loss was not finite.
        """
        values = torch.stack(list(self._sums.values())).tolist() if self._sums else []
        own = {
            name: (value, self._counts[name])
            for name, value in zip(self._sums, values, strict=True)
        }
        totals: dict[str, tuple[float, int]] = {}
        for part in distributed.gather_objects(own):
            for name, (value, count) in part.items():
                old = totals.get(name, (0.0, 0))
                totals[name] = (old[0] + value, old[1] + count)
        means = {name: value / count for name, (value, count) in totals.items()}
        bad = [name for name, mean in means.items() if not abs(mean) < float("inf")]
        if bad:
            raise FloatingPointError(
                f"expected finite losses, got {', '.join(f'{n} = {means[n]}' for n in bad)}; "
                "lower the learning rate or look at the data, and resume from latest.pth, which "
                "was written before."
            )
        return means

    def reset(self) -> None:
        """Start anew."""
        self._sums, self._counts = {}, {}


class StepClock:
    """Mean data and step times since the last reading, and the time that is left."""

    def __init__(self, iteration: int, max_iters: int) -> None:
        self.max_iters = max_iters
        self._start = self._lap = self._end_of_step = time.perf_counter()
        self._first = iteration
        self._lap_first = iteration
        self._data_time = 0.0

    def data_is_here(self) -> None:
        """Note that the batch of the next iteration has arrived."""
        self._data_time += time.perf_counter() - self._end_of_step

    def step_is_done(self) -> None:
        """Note that an iteration, with all that follows it, has ended."""
        self._end_of_step = time.perf_counter()

    def read(self, iteration: int) -> dict[str, float]:
        """Return mean `data_time` and `time` in seconds per iteration, and start a new lap."""
        steps = max(1, iteration - self._lap_first)
        now = time.perf_counter()
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
        return duration(seconds)


def duration(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds.

    >>> duration(93784.2)
    '1 day, 2:03:04'
    """
    import datetime

    return str(datetime.timedelta(seconds=int(seconds)))


def memory_in_use(device: torch.device) -> int:
    """Return the largest amount of memory used so far, in MB: of the GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return used // (2**20 if sys.platform == "darwin" else 2**10)
