"""Does adaptation help? Source-only, DAFormer and CDDA on the demo scenes, three seeds each.

All runs start from one checkpoint trained on the source and continue for equally many iterations.
The mean and spread of the target's IoU per class go to benchmarks/RESULTS.md. Finished runs stay in
the work folder, so the script can be stopped and continued.

python tools/make_demo_data.py --source-images 400 --target-images 160
python benchmarks/adaptation.py --jobs 2
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

from results import write_section

ROOT = Path(__file__).resolve().parents[1]
METHODS = {
    "source-only": "configs/demo/source_only.py",
    "DAFormer": "configs/demo/daformer.py",
    "CDDA": "configs/demo/cdda_daformer.py",
}


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "adaptation")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--report-only", action="store_true", help="train nothing")
    options = parser.parse_args()
    runs = [(method, seed) for seed in options.seeds for method in METHODS]
    if not options.report_only:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda run: train(*run, options), runs))
    write_report(options)


def run_folder(method: str, seed: int, options: argparse.Namespace) -> Path:
    """Return the folder of one run."""
    return options.work_dir / f"{method.lower()}_{options.iterations}_s{seed}"


def train(method: str, seed: int, options: argparse.Namespace) -> None:
    """Train one run in its own process, unless it is finished."""
    folder = run_folder(method, seed, options)
    if final_result(folder, options.iterations) is not None:
        print(f"finished before: {folder}")
        return
    command = [sys.executable, "tools/train.py", METHODS[method], "--work-dir", str(folder)]
    command += ["--seed", str(seed), "--cfg-options", f"runner.max_iters={options.iterations}"]
    command += [f"evaluation.interval={max(1, options.iterations // 4)}"]
    command += [f"checkpoint_config.interval={options.iterations}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if options.jobs > 1 else None
    folder.mkdir(parents=True, exist_ok=True)
    print(f"training {method}, seed {seed}: {folder}", flush=True)
    with (folder / "console.txt").open("w") as console:
        subprocess.run(
            command, cwd=ROOT, env=environment, stdout=console, stderr=console, check=True
        )


def final_result(folder: Path, iterations: int) -> dict[str, Any] | None:
    """Return the result of a run's last iteration, or None if the run is not finished."""
    file = folder / "results.json"
    result = json.loads(file.read_text()) if file.is_file() else {}
    return result if result.get("iteration") == iterations else None


def write_report(options: argparse.Namespace) -> None:
    """Put the table between its marks in RESULTS.md."""
    results: dict[str, list[dict[str, Any]]] = {}
    for method in METHODS:
        found = [
            final_result(run_folder(method, s, options), options.iterations) for s in options.seeds
        ]
        results[method] = [r for r in found if r is not None]
        if len(results[method]) < len(found):
            sys.exit(f"{method}: {len(found) - len(results[method])} runs are not finished.")
    text = report(results, options)
    write_section("adaptation", text, ROOT / "benchmarks/RESULTS.md")
    print(text)


def report(results: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Return the section as Markdown."""
    images = next(iter(results.values()))[0]["num_images"]
    lines = [
        "## Adaptation on the demo scenes\n",
        f"`python benchmarks/adaptation.py --iterations {options.iterations}`, {date.today()}, "
        f"{platform.machine()} CPU, {os.cpu_count()} cores, on the scenes of `make_demo_data.py "
        "--source-images 400 --target-images 160`. MiT-B0, 128×128 crops, batch 2, no feature "
        "distance (there is no ImageNet file); every run continues from "
        "`pretrained/demo_mit_b0_source.pth`. IoU in percent on the target's val split "
        f"({images} images) after the last iteration, mean ± sample standard deviation over the "
        f"seeds {', '.join(map(str, options.seeds))}.\n",
        "| | " + " | ".join(results) + " |",
        "|---|" + "---:|" * len(results),
        _row("**mIoU**", [[100 * r["mIoU"] for r in runs] for runs in results.values()]),
        _row("best mIoU", [[100 * r["best"]["mIoU"] for r in runs] for runs in results.values()]),
    ]
    for name in next(iter(results.values()))[0]["per_class"]:
        values = [
            [100 * (r["per_class"][name]["IoU"] or 0.0) for r in runs] for runs in results.values()
        ]
        lines.append(_row(name, values))
    return "\n".join(lines) + "\n"


def _row(name: str, columns: list[list[float]]) -> str:
    cells = [
        f"{statistics.mean(v):.1f} ± {statistics.stdev(v) if len(v) > 1 else 0:.1f}"
        for v in columns
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
