"""Maps of images: read and resize, batch, compute, write, all of it at the same time."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import takewhile
from pathlib import Path

from mmseg.datasets.depth.record import DepthRecord
from mmseg.preprocessing.crops import each_item
from mmseg.preprocessing.depth_maps.batches import Batch, Grouping
from mmseg.preprocessing.depth_maps.device import DeviceQueue, Result
from mmseg.preprocessing.depth_maps.jobs import Job
from mmseg.preprocessing.depth_maps.network import Network
from mmseg.preprocessing.depth_maps.pictures import Pictures, Unreadable
from mmseg.preprocessing.depth_maps.summary import Outcome
from mmseg.preprocessing.depth_maps.writers import Writers, write_map


class FromImages:
    """Makes maps with a network.

    Args:
        network: see `Network`.
        batch_size: images that go through it together.
        workers: processes that read images.
    """

    def __init__(self, network: Network, batch_size: int, workers: int) -> None:
        self.network, self.batch_size, self.workers = network, batch_size, workers
        self.queue = DeviceQueue(network)

    @property
    def record(self) -> DepthRecord:
        """How these maps are made."""
        return DepthRecord(self.network.recipe(), self.network.details())

    @property
    def busy(self) -> float | None:
        """Seconds that the device has computed."""
        return self.queue.busy

    def describe(self) -> list[str]:
        """Say how these maps are made."""
        return self.network.describe()

    def outcomes(
        self, jobs: Sequence[Job], writers: Writers, must_stop: Callable[[], bool]
    ) -> Generator[Outcome, None, None]:
        """Make maps; yield what became of each image.

        Once `must_stop` is true, no further batch is started; those that were are written.
        """
        with closing(self._steps(jobs)) as steps:
            for step in takewhile(lambda _: not must_stop(), steps):
                if isinstance(step, Unreadable):
                    yield Outcome(jobs[step.number], step.reason)
                    continue
                for result in self.queue.put(step):
                    yield from self._write(result, jobs, writers)
        for result in self.queue.rest():
            yield from self._write(result, jobs, writers)
        yield from _written(writers, is_last=True)

    def _steps(self, jobs: Sequence[Job]) -> Generator[Batch | Unreadable, None, None]:
        """Yield batches as they become full, and images that cannot be read."""
        pictures = Pictures([job.image for job in jobs], self.network.rule)
        pins = self.network.device.type == "cuda"
        grouping = Grouping(self.batch_size)
        workers = min(self.workers, len(jobs))
        with closing(each_item(pictures, workers, pins)) as items:
            for item in items:
                if isinstance(item, Unreadable):
                    yield item
                else:
                    yield from grouping.add(self.queue.upload(item))
        yield from grouping.rest()

    def _write(self, result: Result, jobs: Sequence[Job], writers: Writers) -> Iterator[Outcome]:
        """Hand maps to the writers; yield what has become of former ones."""
        for number, levels, is_finite in zip(
            result.numbers, result.levels, result.is_finite, strict=True
        ):
            job = jobs[number]
            if is_finite:
                writers.submit(job, write_map, job.output, levels)
            else:
                yield Outcome(job, _not_finite(job.image, self.network.amp))
        yield from _written(writers)


def _written(writers: Writers, is_last: bool = False) -> Iterator[Outcome]:
    return (Outcome(job) for job, _ in writers.finished(is_last))


def _not_finite(image: Path, amp: bool) -> str:
    advice = "start the command again without --amp, or " if amp else ""
    return (
        f"expected finite depth of the image '{image}', got NaN or infinity from the network; do "
        f"{advice}check the weights."
    )
