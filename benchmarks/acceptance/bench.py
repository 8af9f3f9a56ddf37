"""What every section of the acceptance works with: device, sizes, clock and record."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from acceptance.clock import Clock, OutOfTime
from acceptance.device import is_out_of_memory, memory, start_memory


@dataclass(frozen=True)
class Scale:
    """How much work is done; the defaults are for a GPU.

    `recorded`, `curves`, `methods`: how many of each kind are repeated (None: all). `bank`: source
    crops in a bank (None: as many as published). `cells`: rows and columns of the multiplied
    matrices. A measurement ends after `timed` calls or `seconds`, whichever comes first.
    """

    recorded: int | None = None
    curves: int | None = None
    curve_iterations: int = 10
    methods: int | None = None
    published: tuple[str, ...] = (
        "cdda/gta2cs_cdda_daformer",
        "cdda/gtaHR2csHR_cdda_hrda",
        "cdda/gtaHR2csHR_cdda_mic",
    )
    published_later: tuple[str, ...] = (
        "cdda/synthia2cs_cdda_daformer",
        "cdda/synthiaHR2csHR_cdda_hrda",
        "cdda/synthiaHR2csHR_cdda_mic",
    )
    compiler: str = "inductor"
    bank: int | None = None
    cells: int = 8192
    warm_ups: int = 2
    timed: int = 6
    seconds: float = 8.0
    source_size: tuple[int, int] = (1052, 1914)  # rows and columns of GTA's images
    target_size: tuple[int, int] = (1024, 2048)  # of Cityscapes', also those predicted
    loader_config: str = "cdda/gtaHR2csHR_cdda_mic"
    windows: tuple[int, ...] = (1, 2, 9)
    depth_networks: tuple[str, ...] = ("small", "large")


TINY = Scale(
    recorded=1,
    curves=1,
    curve_iterations=2,
    methods=1,
    published=("demo/cdda_daformer",),
    published_later=("demo/source_only",),
    compiler="eager",
    bank=20,
    cells=64,
    warm_ups=1,
    timed=1,
    seconds=0.05,
    source_size=(180, 320),
    target_size=(160, 320),
    loader_config="demo/cdda_daformer",
    windows=(2,),
    depth_networks=("tiny",),
)


@dataclass
class Record:
    """The results. A check is a claim that holds or fails; a measurement is a row of a table."""

    checks: list[dict[str, Any]] = field(default_factory=list)
    measurements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: list[dict[str, str]] = field(default_factory=list)
    sections: dict[str, float] = field(default_factory=dict)  # seconds of those that have ended

    def check(self, claim: str, holds: bool, detail: str) -> None:
        """Note whether a claim holds, and what was seen."""
        self.checks.append({"claim": claim, "holds": bool(holds), "detail": detail})
        print(f"{'holds' if holds else 'FAILS'}: {claim}: {detail}", flush=True)

    def measure(self, table: str, **row: Any) -> None:
        """Add a row to a table."""
        self.measurements.setdefault(table, []).append(row)
        print(f"{table}: {row}", flush=True)

    def leave_out(self, name: str, reason: str) -> None:
        """Note what was not done."""
        self.left_out.append({"name": name, "reason": reason})
        print(f"left out: {name}: {reason}", flush=True)

    @property
    def status(self) -> int:
        """The exit status: 1 if a check failed."""
        return int(not all(check["holds"] for check in self.checks))


@dataclass
class Bench:
    """The shared context of the sections.

    `peaks` are the measured rates of matrix products in TFLOP/s, by precision.
    """

    device: torch.device
    scale: Scale
    clock: Clock
    folder: Path  # for intermediate files
    about: dict[str, Any]  # the head of the report
    record: Record = field(default_factory=Record)
    peaks: dict[str, float] = field(default_factory=dict)

    @property
    def is_dry(self) -> bool:
        """Whether this only tries the program, on a CPU with tiny sizes."""
        return self.device.type == "cpu"

    def has_time(self, name: str, seconds: float) -> bool:
        """Tell whether there is time for a task; if not, note that it is left out."""
        needed, left = 0.0 if self.is_dry else seconds, self.clock.left()
        if left > needed:
            return True
        self.record.leave_out(name, f"needs about {needed:.0f} s, {max(0.0, left):.0f} s are left")
        return False

    @contextmanager
    def trying(self, name: str, table: str | None = None, **row: Any) -> Iterator[None]:
        """Record any error of the task `name` and go on.

        If it did not fit into memory, `table` gets a row that begins with `row`.
        """
        start_memory(self.device)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - any error is a result
            if not is_out_of_memory(error):
                detail = "".join(traceback.format_exception(error))
                self.record.check(f"{name} runs without an error", False, detail)
            elif table is None:
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                self.record.leave_out(name, f"did not fit into memory: {said}")
            else:
                self.record.measure(table, **row, fits=False, **memory(self.device))


@dataclass(frozen=True)
class Section:
    """A part of the acceptance; on a GPU it needs at least `seconds`."""

    name: str
    run: Callable[[Bench], None]
    seconds: float


def run_sections(bench: Bench, sections: Iterable[Section], last_words: Callable[[], int]) -> None:
    """Run the sections that fit into the time; an error in one does not stop the next.

    `last_words` is described at `Clock.interrupts`.
    """
    waiting = list(sections)

    def name_the_rest() -> None:
        named = {entry["name"] for entry in bench.record.left_out}
        for number, section in enumerate(s for s in waiting if s.name not in named):
            reason = "was not started in time" if number else "was stopped when time ran out"
            bench.record.leave_out(section.name, reason)

    def end() -> int:
        name_the_rest()
        return last_words()

    try:
        with bench.clock.interrupts(end):
            while waiting:
                section = waiting[0]
                if bench.has_time(section.name, section.seconds):
                    start = time.monotonic()
                    with bench.trying(section.name):
                        section.run(bench)
                    bench.record.sections[section.name] = round(time.monotonic() - start, 1)
                del waiting[0]
    except OutOfTime:
        name_the_rest()
