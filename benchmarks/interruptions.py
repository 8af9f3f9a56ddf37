"""Kill commands again and again, and compare their ends with those of undisturbed ones.

Half of the kills hit a training at random moments, on one process and on two. The other half come
in the middle of an evaluation, a checkpoint, source crops, their bank, or a conversion. All files,
weights, and logged values have to be equal bit by bit, and nothing and nobody may be left over; if
not, the script ends with status 1. `tests/helpers/struck_runs.py` says how.

python benchmarks/interruptions.py --kills 100 --seed 0 --write
"""

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import acceptance  # puts tests/helpers on the path

# isort: split
from results import write_section
from struck_jobs import JOBS, LENGTH
from struck_runs import FULL, MOMENT, SIGNALS, Report, Strike, campaign

RESULTS = acceptance.ROOT / "benchmarks/RESULTS.md"
# Of ten kills at random moments.
TRAININGS = [*["train"] * 6, *["two processes without workers"] * 2, *["two processes"] * 2]
OTHERS = [Strike("train", phase) for phase in (*SIGNALS, FULL)] * 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, report, and fail if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="every second one in a phase")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the result into RESULTS.md")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        strikes = choose(options.kills, options.seed)
        report = campaign(strikes, Path(name), options.seed)
    text = section(report, options.kills, options.seed, time.perf_counter() - begin)
    print(text)
    wrong = [*report.faults, *(f"{job}: {v}" for job, vs in report.differing.items() for v in vs)]
    if wrong:
        sys.exit("\n".join(wrong))
    if options.write:
        write_section("interruptions", text, RESULTS)


def choose(kills: int, seed: int) -> list[Strike]:
    """Return so many kills, half of them in phases, and signals and full disks, in any order."""
    phases = [Strike(name, phase) for name, job in JOBS.items() for phase in job.phases]
    chosen = list(islice(cycle(phases), kills - kills // 2))
    chosen += [Strike(name, MOMENT) for name in islice(cycle(TRAININGS), kills // 2)]
    chosen += OTHERS
    random.Random(seed).shuffle(chosen)
    return chosen


def section(report: Report, kills: int, seed: int, seconds: float) -> str:
    """Return the section of RESULTS.md."""
    differing = sum(map(len, report.differing.values()))
    lines = [
        "## Interrupted runs",
        "",
        f"`python benchmarks/interruptions.py --kills {kills} --seed {seed}`, {date.today()}, "
        f"{platform.machine()} CPU, {os.cpu_count()} cores with other work on them, "
        f"{seconds:.0f} s. Trainings are CDDA runs of {LENGTH['runner']['max_iters']} iterations "
        "with two evaluations and a checkpoint per iteration; crops and labels are written by two "
        "or three processes. Every command is killed and started again until it is complete. Then "
        "all its files are compared with those of an undisturbed run, bit by bit: weights, "
        "optimizer, logged values, results, crops, bank, labels, and statistics. "
        f"Differing values: {differing}; other faults (files or processes left over, progress "
        f"lost, hangs, endings without a sentence): {len(report.faults)}. "
        f"{report.cut_files} strikes left a half-written file, which the next run removed; no "
        f"worker was seen for longer than {report.longest:.1f} s after its command.",
        "",
        "| command | struck | times | starts | complete runs | differing |",
        "|---|---|---:|---:|---:|---:|",
    ]
    return "\n".join([*lines, *(row(report, name) for name in report.starts), ""])


def row(report: Report, name: str) -> str:
    """Return a line of the table: a command, and all that was done to it."""
    times = {s.phase: number for s, number in sorted(report.strikes.items()) if s.job == name}
    where = ", ".join(f"{phase} {number}" for phase, number in times.items())
    numbers = [sum(times.values()), report.starts[name], report.courses[name]]
    numbers.append(len(report.differing[name]))
    return " | ".join([f"| {name}", where, *map(str, numbers)]) + " |"


if __name__ == "__main__":
    main()
