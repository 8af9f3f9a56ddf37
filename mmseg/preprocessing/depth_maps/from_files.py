"""Maps of maps that exist already: worker processes convert and write them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from mmseg.datasets.depth.record import DepthRecord
from mmseg.preprocessing.depth_maps import disparity
from mmseg.preprocessing.depth_maps.jobs import Job
from mmseg.preprocessing.depth_maps.summary import Outcome
from mmseg.preprocessing.depth_maps.writers import Writers, write_map
from mmseg.system.errors import is_for_user


class FromFiles:
    """Makes maps of files.

    Args:
        quantity: what the files hold, 'inverse' (near is large) or 'metric' (near is small).
        origin: where the files are, for people.
    """

    busy = None  # no device is used
    workers = 0  # nothing is read here

    def __init__(self, quantity: str, origin: Sequence[Path]) -> None:
        self.quantity, self.origin = quantity, origin

    @property
    def record(self) -> DepthRecord:
        """How these maps are made."""
        details = {"files": [str(path) for path in self.origin]}
        return DepthRecord(disparity.recipe(self.quantity), details)

    def describe(self) -> list[str]:
        """Say how these maps are made."""
        if self.quantity == "metric":
            return ["Converts maps of metric depth (near is small): they are inverted."]
        return ["Converts maps of disparity or inverse depth (near is large)."]

    def outcomes(
        self, jobs: Sequence[Job], writers: Writers, must_stop: Callable[[], bool]
    ) -> Generator[Outcome, None, None]:
        """Make maps; yield what became of each file. None is begun once `must_stop` is true."""
        for job in jobs:
            if must_stop():
                break
            writers.submit(job, convert_file, job, self.quantity)
            yield from _converted(writers)
        yield from _converted(writers, is_last=True)


def convert_file(job: Job, quantity: str) -> str | None:
    """Write the map of a file; return why that cannot be done, if it is the file's fault."""
    try:
        levels = disparity.convert(job.image, quantity)
    except (OSError, ValueError) as error:
        if not is_for_user(error):
            raise
        return str(error)
    write_map(job.output, levels)
    return None


def _converted(writers: Writers, is_last: bool = False) -> Iterator[Outcome]:
    return (Outcome(job, failure) for job, failure in writers.finished(is_last))
