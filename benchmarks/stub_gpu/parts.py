"""Launches in those parts of a step that must not grow with classes or parameters."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from stub_gpu import counters

QUEUED = ("launches", "fills", "device_copies")


class Parts:
    """Counts launches, fills and copies in the depth metric and in what updates weights."""

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()

    def clear(self) -> None:
        """Begin anew."""
        self.launches.clear()

    def watch_method(self, method: Any) -> None:
        """Count the parts of a training method."""
        if getattr(method, "cdda", None) is not None:
            metric = method.cdda.metric
            metric.forward = self._counted("metric", metric.forward)
        if getattr(method, "teacher", None) is not None:
            method._update_teachers = self._counted("teachers", method._update_teachers)

    def watch_trainer(self, trainer: Any) -> None:
        """Count what follows the last backward pass."""
        updates = trainer.updates
        updates.after = self._counted("optimizers", updates.after)

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            before = counters.count_now()
            result = function(*arguments, **named)
            change = counters.difference(counters.count_now(), before)
            self.launches[name] += sum(change[kind] for kind in QUEUED)
            return result

        return call
