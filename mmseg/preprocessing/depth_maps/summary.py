"""What a run did, counted over its processes and told to a person."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmseg.preprocessing.depth_maps.jobs import Job
from mmseg.preprocessing.plan import time_text

MAX_NAMED = 20  # failures


@dataclass(frozen=True)
class Outcome:
    """What became of an image; `failure` says why it has no map."""

    job: Job
    failure: str | None = None


@dataclass
class Summary:
    """Numbers of one process or, merged, of all.

    made: maps that were made; existing: maps that were there before; failures: why others are not.
    seconds: of the whole loop; busy: how many of them the device computed, None without a device.
    """

    made: int = 0
    existing: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    busy: float | None = None

    def add(self, outcome: Outcome) -> None:
        """Count what became of an image."""
        if outcome.failure is None:
            self.made += 1
        else:
            self.failures.append(outcome.failure)

    @property
    def done(self) -> int:
        """How many images were dealt with."""
        return self.made + len(self.failures)

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.done / max(self.seconds, 1e-9)

    @property
    def waiting_share(self) -> float | None:
        """Share of the time, 0…1, in which the device had nothing to compute."""
        if self.busy is None:
            return None
        return min(max(1 - self.busy / max(self.seconds, 1e-9), 0.0), 1.0)

    def lines(self, where: object) -> list[str]:
        """Return what a person should read at the end; `where` is the folder of the maps."""
        parts = [f"Made {counted(self.made, 'map')} in {where}"]
        if self.done:
            parts[0] += f" in {time_text(self.seconds)} ({self.rate:.3g} images/s)"
        if self.done and self.waiting_share is not None:
            parts.append(f"the device waited for data {self.waiting_share:.1%} of the time")
        if self.existing:
            parts.append(f"{counted(self.existing, 'map')} had been there already")
        return [f"{'; '.join(parts)}.", *self.failure_lines()]

    def failure_lines(self) -> list[str]:
        """Name the first failures and count the others."""
        if not self.failures:
            return []
        lines = [f"No map could be made of {counted(len(self.failures), 'file')}:"]
        lines += [f"  {reason}" for reason in self.failures[:MAX_NAMED]]
        if len(self.failures) > MAX_NAMED:
            lines.append(f"  … and {len(self.failures) - MAX_NAMED} others.")
        return lines


def merge(summaries: Sequence[Summary]) -> Summary:
    """Add up what the processes of a run did at the same time."""
    longest = max(summary.seconds for summary in summaries)
    busy = [summary.busy for summary in summaries if summary.busy is not None]
    all_seconds = max(sum(summary.seconds for summary in summaries), 1e-9)
    return Summary(
        made=sum(summary.made for summary in summaries),
        existing=max(summary.existing for summary in summaries),
        failures=[reason for summary in summaries for reason in summary.failures],
        seconds=longest,
        busy=longest * sum(busy) / all_seconds if busy else None,
    )


def counted(count: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "map"), counted(0, "map")
    ('1 map', '0 maps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
