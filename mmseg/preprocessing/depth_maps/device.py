"""Batches -> levels on the device, which computes one batch while the former one is fetched.

On a GPU everything is queued: images go there on a stream of their own as soon as they are read,
results come back into pinned memory. The only wait is that for the results of the former batch, at
a time when the next one is queued already. On a CPU a batch is computed when it is put.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mmseg.preprocessing.depth_maps.batches import Batch
from mmseg.preprocessing.depth_maps.network import Network
from mmseg.preprocessing.depth_maps.pictures import Picture
from mmseg.preprocessing.depth_maps.summary import counted
from mmseg.system.full_memory import explains_full_memory


@dataclass(frozen=True)
class Result:
    """The maps of a batch.

    numbers: of the images; levels: (B, H, W) uint8; is_finite: whether a map is one.
    """

    numbers: list[int]
    levels: np.ndarray
    is_finite: list[bool]


class DeviceQueue:
    """Runs batches through a network.

    Args:
        network: of the device to use.

    Attributes:
        busy: seconds that the device has computed.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.lane: _Lane = (_Cuda if network.device.type == "cuda" else _Plain)(network)
        self.running: deque[_Running] = deque()
        self.busy = 0.0

    def upload(self, picture: Picture) -> Picture:
        """Return an image whose pixels are, or will be, on the device."""
        with self._explains_full_memory("images", picture.size):
            return replace(picture, pixels=self.lane.upload(picture.pixels))

    def put(self, batch: Batch) -> Iterator[Result]:
        """Start a batch; yield the results that were due before it."""
        count = len(batch.numbers)
        with self._explains_full_memory(
            f"a batch of {counted(count, 'image')}", batch.size, count == 1
        ):
            self.running.append(self.lane.start(batch))
        while len(self.running) > self.lane.ahead:
            yield self._fetch()

    def rest(self) -> Iterator[Result]:
        """Yield the results of everything that was started."""
        while self.running:
            yield self._fetch()

    def _explains_full_memory(
        self, what: str, size: tuple[int, int], is_single: bool = False
    ) -> AbstractContextManager[None]:
        """Name what needs less memory; half precision only if it is not in use already."""
        change = "with a smaller --batch-size"
        if is_single:
            change = "on a device with more memory" if self.network.amp else "with --amp"
        return explains_full_memory(
            lambda: f"{what} of {size[1]}x{size[0]} pixels",
            lambda: f"start the same command again to continue, {change}.",
        )

    def _fetch(self) -> Result:
        result, seconds = self.running.popleft().fetch()
        self.busy += seconds
        return result


class _Running(Protocol):
    """A batch that was started."""

    def fetch(self) -> tuple[Result, float]:
        """Wait for the results; return them, and the seconds that the device computed."""
        ...


class _Lane(Protocol):
    """How a device takes work; `ahead`: batches that are computed while their former is fetched."""

    ahead: int

    def upload(self, pixels: Tensor) -> Tensor: ...

    def start(self, batch: Batch) -> _Running: ...


@dataclass(frozen=True)
class _Finished:
    result: Result
    seconds: float

    def fetch(self) -> tuple[Result, float]:
        return self.result, self.seconds


class _Plain:
    """A device that has computed when the call returns."""

    ahead = 0

    def __init__(self, network: Network) -> None:
        self.network = network

    def upload(self, pixels: Tensor) -> Tensor:
        # A copy also on a CPU: shared memory is scarce, and images may wait for others of their
        # size.
        return pixels.to(self.network.device, copy=True)

    def start(self, batch: Batch) -> _Running:
        start = time.perf_counter()
        stored = self.network.maps(torch.stack(batch.pixels), batch.size)
        levels, is_finite = stored.levels.cpu().numpy(), stored.is_finite.tolist()
        seconds = time.perf_counter() - start
        return _Finished(Result(batch.numbers, levels, is_finite), seconds)


@dataclass(frozen=True)
class _Queued:
    """A batch on a GPU; its results are in pinned memory once `end` is reached."""

    numbers: list[int]
    levels: Tensor
    is_finite: Tensor
    start: torch.cuda.Event
    end: torch.cuda.Event

    def fetch(self) -> tuple[Result, float]:
        self.end.synchronize()
        result = Result(self.numbers, self.levels.numpy(), self.is_finite.tolist())
        return result, self.start.elapsed_time(self.end) / 1000  # milliseconds


class _Cuda:
    """A GPU: copies to it overlap with its work."""

    ahead = 1

    def __init__(self, network: Network) -> None:
        self.network = network
        self.copies = torch.cuda.Stream(network.device)

    def upload(self, pixels: Tensor) -> Tensor:
        with torch.cuda.stream(self.copies):
            return pixels.to(self.network.device, non_blocking=True)

    def start(self, batch: Batch) -> _Running:
        compute = torch.cuda.current_stream(self.network.device)
        compute.wait_stream(self.copies)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(compute)
        for pixels in batch.pixels:  # made on the other stream: their memory is free after this one
            pixels.record_stream(compute)
        stored = self.network.maps(torch.stack(batch.pixels), batch.size)
        levels, is_finite = _fetched(stored.levels), _fetched(stored.is_finite)
        end.record(compute)
        return _Queued(batch.numbers, levels, is_finite, start, end)


def _fetched(values: Tensor) -> Tensor:
    """Queue the copy of a tensor into pinned memory."""
    target = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return target.copy_(values, non_blocking=True)
