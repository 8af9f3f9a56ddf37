"""Which lines of the package ask the GPU for what."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stub_gpu import counters

SHOWN = ("launches", "waits", "reads", "pageable_copies")
Row = dict[str, Any]  # 'line', 'operator', and a number for each of `SHOWN`


def by_site(task: Callable[[], object], number: int) -> list[Row]:
    """Return the `number` pairs of line and operator with most launches, and all that wait."""
    # In the same thread, or operators of backward passes would belong to no line.
    with torch.autograd.set_multithreading_enabled(False):
        task()  # each thread has its own trials of cuDNN's algorithms
        with _Watch() as watch:
            task()
    rows = [{"line": line, "operator": name, **c} for (line, name), c in watch.found.items()]
    rows.sort(key=lambda row: -row["launches"])
    waiting = [row for row in rows[number:] if any(row[name] for name in SHOWN[1:])]
    return rows[:number] + waiting


class _Watch(TorchDispatchMode):
    """Counts around every operator."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[str, str], Counter[str]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = counters.count_now()
        result = func(*args, **(kwargs or {}))
        change = counters.difference(counters.count_now(), before)
        if any(change[name] for name in SHOWN):
            key = _line(), str(func)
            counter = self.found.setdefault(key, Counter(dict.fromkeys(SHOWN, 0)))
            counter.update({name: change[name] for name in SHOWN})
        return result


def _line() -> str:
    """Return the innermost line of the package that is being run."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        _, found, path = frame.f_code.co_filename.rpartition("/mmseg/")
        if found:
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
