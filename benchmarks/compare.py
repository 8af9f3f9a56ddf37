"""Measure two revisions alike, in turns: training steps, the depth metric, loading, crops.

Each revision has a process of its own, as has the naive formulation (with the package of REV_B);
they take turns, so other work on the machine disturbs all of them. What counts is CPU time on one
thread: the least and the median. A revision is what git knows, or `.` for the working tree; the
measuring code is that of this checkout.

python benchmarks/compare.py d1065de . --only loading --runs 12
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from comparison.loading import draw_scenes  # noqa: E402
from comparison.sizes import CROPS, LOADING, NAMES, Amount  # noqa: E402

NAIVE = "naive"
# One thread; freed memory is kept, as tools/environment.sh has it.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "67108864",
}
Times = dict[str, dict[str, list[float]]]  # part of a measurement -> who -> seconds


class Worker:
    """A process that measures with the package of one tree."""

    def __init__(self, tree: Path, amount: Amount, kind: str) -> None:
        places = os.pathsep.join(map(str, (tree, ROOT / "benchmarks")))
        command = [sys.executable, str(ROOT / "benchmarks/comparison/worker.py")]
        command += [json.dumps(asdict(amount)), kind]
        environment = {**os.environ, **SETTINGS, "PYTHONPATH": places}
        self.process: Any = subprocess.Popen(
            command, cwd=tree, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, *question: str) -> Any:
        """Send a line and wait for its answer."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        if not (answer := self.process.stdout.readline()):
            raise SystemExit(f"A process ended with status {self.process.wait()}; see above.")
        return json.loads(answer)

    def end(self) -> None:
        """Let the process end, and wait for it."""
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Copy the files of a revision into a temporary folder; `.` is the working tree itself."""
    if revision == ".":
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        file, tree = Path(folder, "tree.zip"), Path(folder, "tree")
        command = ["git", "-C", str(ROOT), "archive", "--format=zip", "-o", str(file), revision]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip()
            raise SystemExit(f"expected . or a revision of git, got {revision!r}: {reason}.")
        with zipfile.ZipFile(file) as archive:
            archive.extractall(tree)
        yield tree


def measure(workers: dict[str, Worker], name: str, runs: int) -> Times:
    """Return the seconds of each part of a measurement; all take turns."""
    chosen = {who: worker for who, worker in workers.items() if worker.ask("make", name)}
    times: Times = {}
    for _ in range(runs):
        for who, worker in chosen.items():
            for part, seconds in worker.ask("call").items():
                times.setdefault(part, {}).setdefault(who, []).append(seconds)
    return times


def rows_of(name: str, times: Times, order: Sequence[str]) -> list[str]:
    """Return the lines of the table for a measurement."""
    rows = []
    for part, seconds in times.items():
        cells = [f"{name}, {part}" if part else name]
        least = {who: min(values) for who, values in seconds.items()}
        for who in order:
            values = seconds.get(who)
            cells.append(f"{least[who]:.4g} ({statistics.median(values):.4g})" if values else "")
        cells += [
            f"{least[second] / least[first]:.3f}" if {first, second} <= least.keys() else ""
            for first, second in ((order[0], order[1]), (order[-1], order[1]))
        ]
        rows.append(f"| {' | '.join(cells)} |")
    if "step" in times:
        shares = [f"{min(times['step'][who]) / min(times['its passes'][who]):.3f}" for who in order]
        rows.append(f"| {name}, step / its passes | {' | '.join(shares)} | | |")
    return rows


def table(options: argparse.Namespace, found: dict[str, Times], load: Sequence[float]) -> str:
    """Return everything as Markdown."""
    first, second = options.revisions
    order = [f"A {first}", f"B {second}", NAIVE]
    lines = [
        f"CPU seconds on one thread, the least of {options.runs} in turns (median); "
        f"{platform.machine()}, {os.cpu_count()} cores, load {load[0]:.1f} before and "
        f"{load[1]:.1f} after.\n",
        f"| measurement | {' | '.join(order)} | B / A | B / naive |",
        "|---|" + "---:|" * (len(order) + 2),
    ]
    for name, times in found.items():
        lines += rows_of(name, times, order)
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("revisions", nargs=2, metavar="REV", help="A and B; . is the working tree")
    parser.add_argument("--only", nargs="+", default=[""], help=f"parts of {', '.join(NAMES)}")
    parser.add_argument("--runs", type=int, default=10, help="of each measurement")
    parser.add_argument("--tiny", action="store_true", help="all sizes small, to try it")
    parser.add_argument("--json", type=Path, help="file for all times")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    options = parse(arguments)
    names = [name for name in NAMES if any(part in name for part in options.only)]
    if not names:
        raise SystemExit(f"expected parts of {', '.join(NAMES)} as --only, got {options.only}.")
    before, found = os.getloadavg()[0], {}
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if any(name in (*LOADING, CROPS) for name in names):
            draw_scenes(ROOT, data, options.tiny)
        first, second = (stack.enter_context(tree_of(name)) for name in options.revisions)
        amount, labels = Amount(str(data), options.tiny), [f"A {options.revisions[0]}"]
        labels += [f"B {options.revisions[1]}", NAIVE]
        workers = {}
        for label, tree in zip(labels, (first, second, second), strict=True):
            workers[label] = Worker(tree, amount, NAIVE if label == NAIVE else "own")
            stack.callback(workers[label].end)
        for name in names:
            found[name] = measure(workers, name, options.runs)
            sys.stderr.write("\n".join(rows_of(name, found[name], labels)) + "\n")
    text = table(options, found, (before, os.getloadavg()[0]))
    print(text)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
