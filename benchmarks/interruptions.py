"""Interrupt a run again and again, and compare its end with that of one that never was.

See tests/struck_runs.py for how. All values have to be equal bit by bit; if not, the script ends
with status 1.

python benchmarks/interruptions.py --kills 30 --write
"""

import argparse
import platform
import random
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from results import write_section  # noqa: E402
from struck_runs import KINDS, LENGTH, SIGNALS, Report, campaign, write_material  # noqa: E402


def main() -> None:
    """Interrupt, report, and fail if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="every second one while saving")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the result into RESULTS.md")
    options = parser.parse_args()
    kinds = [("kill", "saving")[n % 2] for n in range(options.kills)] + [*SIGNALS, "full"] * 2
    random.Random(options.seed).shuffle(kinds)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        config = write_material(Path(name))
        report = campaign(config, Path(name) / "runs", kinds, options.seed, share=0.8)
    text = section(report, time.perf_counter() - begin)
    print(text)
    if report.mismatches or report.faults:
        sys.exit("\n".join([*report.mismatches, *report.faults]))
    if options.write:
        write_section("interruptions", text, ROOT / "benchmarks/RESULTS.md")


def section(report: Report, seconds: float) -> str:
    """Return the section of RESULTS.md."""
    rows = [f"| {text} | {report.strikes[kind]} |" for kind, text in KINDS.items()]
    lines = [
        "## Interrupted runs",
        "",
        f"`python benchmarks/interruptions.py`, {date.today()}, {platform.machine()} CPU, "
        f"{seconds:.0f} s. A CDDA run of {LENGTH['runner']['max_iters']} iterations with one "
        f"loader worker, struck at random moments: {report.courses} trainings to the end, "
        f"{report.starts} starts, {report.cut_saves} half-written checkpoints left behind. "
        "Compared with the uninterrupted training, bit by bit: files, weights, optimizer state, "
        f"records and logged values. Mismatches: {len(report.mismatches)}; other faults: "
        f"{len(report.faults)}.",
        "",
        "| interruption | times |",
        "|---|---:|",
    ]
    return "\n".join([*lines, *rows, ""])


if __name__ == "__main__":
    main()
