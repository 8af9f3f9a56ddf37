"""Run a series: what can run runs, one after the other, and the rest is listed.

The same command goes on with the first unfinished run. All processes of a run decide alike,
because process 0 looks at the folders.
"""

import gc
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmseg.apis.missing_parts import Missing, broken, missing_bases, missing_parts
from mmseg.apis.run_folder import is_sentence
from mmseg.apis.series.progress import (
    ELSEWHERE,
    FINISHED,
    NEW,
    UNFINISHED,
    Progress,
    progress_of,
)
from mmseg.apis.series.report import summary, summary_lines, write_summary
from mmseg.apis.series.runs import SeriesRun
from mmseg.apis.train import run_training
from mmseg.apis.train_options import TrainOptions
from mmseg.config import load_config
from mmseg.engine.checkpoint import CheckpointError
from mmseg.engine.logs import get_logger, start_logging, stop_logging
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.interruption import RunInterrupted
from mmseg.system.workers import WorkerError

HEADINGS = ("run", "config", "seed", "state", "lacks")


class SeriesError(ValueError):
    """Some runs of a series are not finished; the message names them."""


@dataclass(frozen=True)
class Series:
    """What a command runs.

    Attributes:
        runs: those that it may start.
        folder: in which they lie.
        options: of each run.
        is_startup_test: two iterations each, and always from the start.
        goes_on: whether runs that have begun or finished earlier count.
        known: runs that the summary is about, `runs` and others.
        summary_file: gets the summary, if there is one.
    """

    runs: list[SeriesRun]
    folder: Path
    options: TrainOptions = field(default_factory=TrainOptions)
    is_startup_test: bool = False
    goes_on: bool = True
    known: list[SeriesRun] = field(default_factory=list)
    summary_file: Path | None = None

    @property
    def size(self) -> str:
        """How many runs there are, in words."""
        return f"{len(self.runs)} {'run' if len(self.runs) == 1 else 'runs'}"


@dataclass(frozen=True)
class Plan:
    """What will happen with a run: it has a state, or things are missing."""

    progress: Progress = Progress()
    missing: tuple[Missing, ...] = ()

    @property
    def starts(self) -> bool:
        """Whether the run would start, or go on, now."""
        return not self.missing and self.progress.state in (NEW, UNFINISHED)

    @property
    def obstacle(self) -> str:
        """Why the run does not start here; nothing if it does, or if it is finished."""
        if self.missing:
            return f"lacks {self.lacks}"
        if self.progress.state == ELSEWHERE:
            return f"is run by another command in '{self.progress.folder}'"
        return ""

    @property
    def lacks(self) -> str:
        """What is missing, in short."""
        return "; ".join(one.short for one in self.missing)


def plan_run(series: Series, run: SeriesRun) -> Plan:
    """Look at the folders and files of a run; nothing is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself repeats them
        if bases := missing_bases(run.bases):
            return Plan(missing=tuple(bases))
        try:
            cfg, progress = run.config(), Progress()
            if series.goes_on and not series.is_startup_test:
                validates = series.options.validate
                progress = progress_of(run.name, cfg, series.folder, validates)
        except (ValueError, OSError, ImportError) as error:
            return Plan(missing=(broken(error),))
        if progress.state in (FINISHED, ELSEWHERE):
            return Plan(progress)
        goes_on = progress.state == UNFINISHED
        missing = missing_parts(cfg, series.options.validate, goes_on)
    return Plan(progress, tuple(missing))


def plan_table(series: Series) -> str:
    """Return a table of the runs with what this machine lacks for each."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for run in series.runs:
        plan = plan_run(series, run)
        seed = "random" if run.seed is None else str(run.seed)
        rows.append((run.name, run.origin, seed, plan.progress.state, plan.lacks or "nothing"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = (" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def run_series(series: Series) -> None:
    """Run what can run, and report; `SeriesError` in the end if a run is not finished.

    A run that fails does not end the series of a single process. That of several processes ends,
    because a failure of one of them leaves the others waiting. `RunInterrupted` ends it at once.
    """
    _announce(series, {run.name: _agreed_plan(series, run) for run in series.runs})
    ended: dict[str, str] = {}  # why a run failed; nothing for one that is finished
    for number, run in enumerate(series.runs, 1):
        plan = _agreed_plan(series, run)
        start_logging()
        where = f"{number} of {len(series.runs)}"
        if plan.progress.state == FINISHED:
            ended[run.name] = ""
            get_logger().info(f"Run {where} is finished: {run.name}")
        elif plan.starts:
            get_logger().info(f"Run {where} begins: {run.name}")
            ended[run.name] = _run(series, run, plan)
            start_logging()
            if ended[run.name]:
                get_logger().error(f"{run.name} failed: {ended[run.name]}")
            _report(series, is_end=False)
        else:
            get_logger().warning(f"Run {where} does not start: {run.name} {plan.obstacle}")
    start_logging()
    _report(series, is_end=True)
    stop_logging()
    _raise_unless_finished(series, ended)


def _raise_unless_finished(series: Series, ended: Mapping[str, str]) -> None:
    """Raise `SeriesError` for runs that failed, or that have not started and nobody finished."""
    reasons = {name: problem for name, problem in ended.items() if problem}
    for run in [run for run in series.runs if run.name not in ended]:
        plan = _agreed_plan(series, run)
        if plan.progress.state != FINISHED:
            reasons[run.name] = plan.obstacle or "can start now"
    if reasons:
        said = "".join(f"\n  {line}" for line in _listed(series, reasons))
        raise SeriesError(
            f"expected all of {series.size} to finish, got {len(reasons)} that did not. Give "
            f"them what they need, and start the same command again:{said}"
        )


def _agreed_plan(series: Series, run: SeriesRun) -> Plan:
    """Return what process 0 finds, on every process."""
    return processes.broadcast_object(plan_run(series, run) if processes.is_main() else Plan())


def _announce(series: Series, plans: Mapping[str, Plan]) -> None:
    """Log what will happen and what cannot; `ConfigError` if nothing can."""
    logger = start_logging()
    states = [plan.progress.state for plan in plans.values() if not plan.missing]
    lacking = {name: plan for name, plan in plans.items() if plan.missing}
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    logger.info(f"A series of {series.size}: {counts or 'none can start here'}")
    for name, plan in plans.items():
        if plan.progress.others:
            logger.info(
                f"{name}: {len(plan.progress.others)} earlier run(s) with another config stay as "
                f"they are, the newest in '{plan.progress.others[-1]}'"
            )
    if lacking:
        lines = _listed(series, {name: plan.obstacle for name, plan in lacking.items()})
        parts = dict.fromkeys(one.sentence for plan in lacking.values() for one in plan.missing)
        for line in (f"{len(lacking)} of {series.size} cannot start here:", *lines, *parts):
            logger.warning(line)
    if plans and len(lacking) == len(plans):
        name, plan = next(iter(lacking.items()))
        stop_logging()
        raise ConfigError(
            f"expected at least one run of the series that can start here, got none of "
            f"{series.size}: the first, {name}, lacks {plan.lacks}. The sentences above say what "
            "each of these is. Put it there, or correct the config."
        )


def _listed(series: Series, reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each run with a reason; runs of one group with the same one share it."""
    seeds: dict[tuple[str, str], list[SeriesRun]] = {}
    for run in series.runs:
        if run.name in reasons:
            seeds.setdefault((run.group, reasons[run.name]), []).append(run)
    lines = []
    for (group, reason), runs in seeds.items():
        numbers = ", ".join(str(run.seed) for run in runs)
        name = f"{group} with the seeds {numbers}" if len(runs) > 1 else runs[0].name
        lines.append(f"{name}: {reason}")
    return lines


def _run(series: Series, run: SeriesRun, plan: Plan) -> str:
    """Start a run or go on with it; return why it failed, or nothing."""
    goes_on = plan.progress.state == UNFINISHED
    options = replace(series.options, seed=None, resume="auto" if goes_on else None)
    try:
        file = plan.progress.config if goes_on else run.write_child(series.is_startup_test)
        run_training(load_config(file), options)
    except RunInterrupted as reason:
        again = "The command that started the series goes on with all of it"
        again += "." if series.goes_on else ", without --resume none."
        raise RunInterrupted(f"{reason} {again}") from reason
    except WorkerError:  # the run is saved, and what is wrong with this machine stays wrong
        raise
    except (CheckpointError, FloatingPointError, ValueError, OSError, ImportError) as error:
        if processes.world_size() > 1 or not is_sentence(error):
            raise
        problem = f"{type(error).__name__}: {error}"
    else:
        return ""
    gc.collect()  # the traceback has kept the network in memory
    return problem


def finished_runs(series: Series) -> dict[str, dict[int | None, Path]]:
    """Return the folders of the finished runs that a series knows, by group and seed."""
    groups: dict[str, dict[int | None, Path]] = {}
    for run in series.known:
        plan = plan_run(replace(series, goes_on=True), run)
        if plan.progress.state == FINISHED and plan.progress.folder:
            groups.setdefault(run.group, {})[run.seed] = plan.progress.folder
    return groups


def _report(series: Series, is_end: bool) -> None:
    """Write the summary of what is finished so far, and log it at the end."""
    if not processes.is_main() or series.summary_file is None or series.is_startup_test:
        return
    content = summary(finished_runs(series))
    if not content["configs"]:
        return
    write_summary(series.summary_file, content)
    own = {run.group for run in series.runs}
    for entry in content["configs"] if is_end else ():
        for line in summary_lines(entry) if entry["name"] in own else ():
            get_logger().info(line)
    if is_end:
        get_logger().info(f"Summary of the series: {series.summary_file}")
