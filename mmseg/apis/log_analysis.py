"""What the logs of runs say: speed, memory, losses and mIoU, side by side."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmseg.apis.series.progress import best_of
from mmseg.evaluation.report import percent, text_table
from mmseg.evaluation.run_logs import Record, log_files, records
from mmseg.models.losses import is_loss
from mmseg.system.errors import ConfigError

LAST_PART = 0.1  # of the iterations, over which losses are averaged
UNKNOWN = "–"
NO_LOSS = "loss_scale"  # of float16, which is logged beside the losses
# Commands inside the script of this name in mmsegmentation.
ELSEWHERE = {
    "plot_curve": "python tools/plot_curves.py RUN_DIR",
    "cal_train_time": "the folders alone",
}


@dataclass(frozen=True)
class Score:
    """An evaluation: its mIoU is a fraction, None if it is undefined."""

    iteration: int
    mIoU: float | None  # noqa: N815  # as everywhere


@dataclass(frozen=True)
class RunFacts:
    """What the logs of a run say; None stands for what they do not tell.

    Attributes:
        run: as given.
        iterations: the last one that was logged.
        resumes: how often the run was continued.
        mean_seconds, median_seconds, least_seconds: of an iteration, over what the log says of
            its intervals; the first interval of each start is left out. Evaluations do not count.
        data_share: part of the time in which training waited for samples.
        peak_memory_mb: of the GPU; of the process on a CPU. In MB of 2²⁰ bytes.
        last, best: evaluations.
        losses: their means over the last tenth of the iterations.
    """

    run: str
    iterations: int
    resumes: int
    mean_seconds: float | None
    median_seconds: float | None
    least_seconds: float | None
    data_share: float | None
    peak_memory_mb: float | None
    last: Score | None
    best: Score | None
    losses: Mapping[str, float]


def analyze(run: str | Path) -> RunFacts:
    """Read the logs in the work folder of a run, or one log.

    `FileNotFoundError` without a log, `ConfigError` for one that is empty.
    """
    if str(run) in ELSEWHERE and not Path(run).exists():
        raise ConfigError(
            f"expected work folders of runs, got {str(run)!r}, a command of mmsegmentation. Use "
            f"{ELSEWHERE[str(run)]}."
        )
    starts = _starts(run)
    trained = [record for start in starts for record in start if record["mode"] == "train"]
    scores = {r["iter"]: r for start in starts for r in start if r["mode"] == "val"}
    laps = [lap for start in starts for lap in _laps(start)]
    times = [seconds for _, seconds, _ in laps]
    whole = sum(steps * seconds for steps, seconds, _ in laps)
    steps, waited = sum(lap[0] for lap in laps), sum(lap[0] * lap[2] for lap in laps)
    return RunFacts(
        run=str(run),
        iterations=max(record["iter"] for start in starts for record in start),
        resumes=len(starts) - 1,
        mean_seconds=whole / steps if steps else None,
        median_seconds=statistics.median(times) if times else None,
        least_seconds=min(times, default=None),
        data_share=waited / whole if whole else None,
        peak_memory_mb=max(_numbers(trained, "memory"), default=None),
        last=_score(scores, max(scores)) if scores else None,
        best=_score(scores, best_of(scores)) if scores else None,
        losses=_losses(trained),
    )


def as_text(runs: Sequence[RunFacts]) -> str:
    """Return a table with a column for each run, below their numbers and names."""
    named = {str(number): facts for number, facts in enumerate(runs, 1)}
    lines = [f"{number}: {facts.run}" for number, facts in named.items()]
    losses = dict.fromkeys(name for facts in runs for name in facts.losses)
    cells = {number: _cells(facts, losses) for number, facts in named.items()}
    rows = list(next(iter(cells.values())))
    columns = {number: list(own.values()) for number, own in cells.items()}
    return "\n".join([*lines, text_table({"run": rows, **columns})])


def as_json(runs: Sequence[RunFacts]) -> dict[str, Any]:
    """Return everything as plain values: `{"runs": […]}` with the attributes of `RunFacts`."""
    return {"runs": [asdict(facts) for facts in runs]}


def _starts(run: str | Path) -> list[list[Record]]:
    """Return the records of each start, without those before a training anew in the folder."""
    starts: list[list[Record]] = []
    for file in log_files(run):
        found = list(records(file))
        if found and starts and found[0]["iter"] <= starts[0][0]["iter"]:
            starts = []
        starts += [found] if found else []
    if not starts:
        raise ConfigError(
            f"expected records of iterations in the log of '{run}', got none yet. Wait for the "
            "first line with losses, or give another run."
        )
    return starts


def _laps(start: Sequence[Record]) -> Iterator[tuple[int, float, float]]:
    """Yield (iterations, seconds each, of these without data) of all intervals but the first."""
    trained = [record for record in start if record["mode"] == "train"]
    for before, record in zip(trained, trained[1:], strict=False):
        (seconds,) = _numbers([record], "time") or (0.0,)
        (waited,) = _numbers([record], "data_time") or (0.0,)
        if seconds > 0:
            yield record["iter"] - before["iter"], seconds, waited


def _losses(trained: Iterable[Record]) -> dict[str, float]:
    """Return the mean of each loss over the last tenth; later starts replace earlier ones."""
    latest = {record["iter"]: record for record in trained}
    first = (1 - LAST_PART) * max(latest, default=0)
    chosen = [record for iteration, record in sorted(latest.items()) if iteration > first]
    names = dict.fromkeys(name for record in chosen for name in record if is_loss(name))
    found = {name: _numbers(chosen, name) for name in names if name != NO_LOSS}
    return {name: statistics.fmean(values) for name, values in found.items() if values}


def _score(scores: Mapping[int, Record], iteration: int) -> Score:
    value = _numbers([scores[iteration]], "mIoU")
    return Score(iteration, value[0] if value else None)


def _numbers(found: Iterable[Record], name: str) -> list[float]:
    values = (record.get(name) for record in found)
    return [v for v in values if isinstance(v, int | float) and math.isfinite(v)]


def _cells(facts: RunFacts, losses: Iterable[str]) -> dict[str, str]:
    """Return what the table says of a run, by the titles of its rows."""
    share, memory = facts.data_share, facts.peak_memory_mb
    return {
        "iterations": str(facts.iterations),
        "resumed": str(facts.resumes),
        "seconds per iteration, mean": _shown(facts.mean_seconds),
        "median": _shown(facts.median_seconds),
        "least": _shown(facts.least_seconds),
        "waiting for data": UNKNOWN if share is None else f"{100 * share:.1f} %",
        "peak memory": UNKNOWN if memory is None else f"{memory:.0f} MB",
        "mIoU, last": _scored(facts.last),
        "mIoU, best": _scored(facts.best),
        **{f"{name}, last 10 %": _shown(facts.losses.get(name)) for name in losses},
    }


def _shown(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _scored(score: Score | None) -> str:
    if score is None:
        return UNKNOWN
    value = "nan" if score.mIoU is None else f"{percent([score.mIoU])[0]:.2f}"
    return f"{value} ({score.iteration})"
