"""A pipeline: steps one after the other."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmseg.config.registry import PIPELINES
from mmseg.datasets.pipelines.fields import Results

Step = Callable[[Results], Results]


class Compose:
    """Call steps one after the other.

    The steps before the first random one give the same for every draw. `fixed` and `drawn` run the
    two parts alone, so that a caller who draws again need not read and resize the files again.
    """

    def __init__(self, steps: Iterable[Mapping[str, Any] | Step]) -> None:
        self.steps: list[Step] = [
            PIPELINES.build(step) if isinstance(step, Mapping) else step for step in steps
        ]
        random = [i for i, step in enumerate(self.steps) if getattr(step, "is_random", True)]
        self._first_random = random[0] if random else len(self.steps)

    def __call__(self, results: Results) -> Results:
        """Run every step."""
        return self.drawn(self.fixed(results))

    def fixed(self, results: Results) -> Results:
        """Run the steps before the first random one."""
        return _run(self.steps[: self._first_random], results)

    def drawn(self, results: Results) -> Results:
        """Run the first random step and all that follow."""
        return _run(self.steps[self._first_random :], results)

    def has_step(self, name: str) -> bool:
        """Tell whether a step is of the class called `name`, nested steps included."""
        return any(type(step).__name__ == name for step in self._all_steps())

    def _all_steps(self) -> Iterable[Step]:
        for step in self.steps:
            yield step
            inner = getattr(step, "transforms", None)
            if isinstance(inner, Compose):
                yield from inner._all_steps()


def _run(steps: Iterable[Step], results: Results) -> Results:
    for step in steps:
        results = step(results)
    return results
