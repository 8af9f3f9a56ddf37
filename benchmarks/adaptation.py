"""Does adaptation help? Every method on the demo scenes, three or five seeds each.

All runs start from one checkpoint trained on the source and continue for equally many iterations.
The mean and spread of the target's IoU per class go to benchmarks/RESULTS.md. Finished runs stay in
the work folder, so the script can be stopped and continued.

python tools/make_demo_data.py --source-images 400 --target-images 160
python tools/convert_datasets/gta.py data/demo/gta
python tools/convert_datasets/cityscapes.py data/demo/cityscapes
python run_seg.py --config configs/demo/cdda_daformer --num 500
python benchmarks/adaptation.py --jobs 2

With `--study switches`, it is CDDA with each switch of docs/training.md that a CPU can show.
With `--study vit`, the methods are those for foundation backbones, on a tiny ViT. Their start is
trained first; their crops: python run_seg.py --config configs/demo/cdda_vfm --num 500
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from results import write_section

ROOT = Path(__file__).resolve().parents[1]
SEEDS, MORE_SEEDS = (0, 1, 2), (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Method:
    """A column of the table."""

    config: str  # in configs/demo
    seeds: tuple[int, ...] = SEEDS
    options: tuple[str, ...] = ()  # of --cfg-options


MIT = {
    "source only": Method("source_only"),
    "oracle": Method("oracle"),
    "MinEnt": Method("minent"),
    "AdvSeg": Method("advseg"),
    "DACS": Method("dacs"),
    "DAFormer": Method("daformer", MORE_SEEDS),
    "MIC": Method("mic"),
    "CDDA": Method("cdda_daformer", MORE_SEEDS),
    "CDDA as released": Method("cdda_daformer", MORE_SEEDS, ("uda.reference_quirks=True",)),
}
VIT = {
    "source only, ViT": Method("vfm_source_only"),
    "VFM-UDA++": Method("vfmudapp"),
    "CDDA on VFM-UDA++": Method("cdda_vfm"),
}
SWITCHES = {
    "as it is": Method("cdda_daformer"),
    "amp.dtype=bfloat16": Method("cdda_daformer", options=("amp.dtype=bfloat16",)),
    # The same numbers, bit by bit: one seed shows it.
    "with_cp": Method("cdda_daformer", (0,), ("model.backbone.with_cp=True",)),
    "joint_passes": Method("cdda_daformer", options=("uda.joint_passes=True",)),
    "compile.mode=default": Method("cdda_daformer", options=("compile.mode=default",)),
}


@dataclass(frozen=True)
class Study:
    """Methods that start from one checkpoint, and the section with their results."""

    methods: dict[str, Method]
    section: str
    title: str
    about: str  # in the report
    start: Method | None = None  # trained first, with seed 0
    start_iterations: int = 0


STUDIES = {
    "mit": Study(
        MIT,
        "adaptation",
        "Adaptation on the demo scenes",
        "MiT-B0, 128×128 crops, batch 2, no feature distance (there is no ImageNet file); every "
        "run continues from `pretrained/demo_mit_b0_source.pth`.",
    ),
    "vit": Study(
        VIT,
        "adaptation-vit",
        "Foundation backbones on the demo scenes",
        "A tiny ViT with adapter and pyramid, 192×192 crops, batch 2, a frozen network with random "
        "weights; every run continues from one that was trained on the source alone.",
        Method("vfm_source_only", options=("lr_config.warmup_iters=100",)),
        1500,
    ),
    "switches": Study(
        SWITCHES,
        "adaptation-switches",
        "What the switches of speed and memory do to the demo's numbers",
        "CDDA on MiT-B0, 128×128 crops, batch 2, once as it is, and with one switch each; every "
        "run continues from `pretrained/demo_mit_b0_source.pth`.",
    ),
}
METHODS = MIT | VIT | SWITCHES


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--study", default="mit", choices=list(STUDIES))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="(default: all)")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "adaptation")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--report-only", action="store_true", help="train nothing")
    options = parser.parse_args()
    study = STUDIES[options.study]
    options.methods = options.methods or list(study.methods)
    # Seed by seed, so that a stopped study has some of every method.
    runs = [(n, s) for s in MORE_SEEDS for n in options.methods if s in METHODS[n].seeds]
    if not options.report_only:
        start = ()
        if study.start is not None:
            first = argparse.Namespace(**{**vars(options), "iterations": study.start_iterations})
            train("start", study.start, 0, first)
            start = (f"load_from={run_folder('start', 0, first) / 'latest.pth'}",)
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda r: train(r[0], METHODS[r[0]], r[1], options, start), runs))
    write_report(options)


def run_folder(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Return the folder of one run."""
    stem = name.lower().replace(" ", "_").replace(",", "")
    return options.work_dir / f"{stem}_{options.iterations}_s{seed}"


def train(
    name: str,
    method: Method,
    seed: int,
    options: argparse.Namespace,
    more: tuple[str, ...] = (),
) -> None:
    """Train one run in its own process, unless it is finished; `more` are values of its config."""
    folder = run_folder(name, seed, options)
    if final_result(folder, options.iterations) is not None:
        print(f"finished before: {folder}")
        return
    command = [sys.executable, "tools/train.py", f"configs/demo/{method.config}"]
    command += ["--work-dir", str(folder), "--overwrite", "--seed", str(seed), "--cfg-options"]
    command += [f"runner.max_iters={options.iterations}", *method.options, *more]
    command += [f"evaluation.interval={max(1, options.iterations // 4)}"]
    command += [f"checkpoint_config.interval={options.iterations}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if options.jobs > 1 else None
    folder.mkdir(parents=True, exist_ok=True)
    print(f"training {name}, seed {seed}: {folder}", flush=True)
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
    for name in options.methods:
        folders = [run_folder(name, seed, options) for seed in METHODS[name].seeds]
        found = [final_result(folder, options.iterations) for folder in folders]
        results[name] = [r for r in found if r is not None]
        if len(results[name]) < len(found):
            sys.exit(f"{name}: {len(found) - len(results[name])} runs are not finished.")
    text = report(results, options)
    write_section(STUDIES[options.study].section, text, ROOT / "benchmarks/RESULTS.md")
    print(text)


def report(results: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Return the section as Markdown."""
    images = next(iter(results.values()))[0]["num_images"]
    study = STUDIES[options.study]
    study_option = "" if options.study == "mit" else f" --study {options.study}"
    lines = [
        f"## {study.title}\n",
        f"`python benchmarks/adaptation.py{study_option} --iterations {options.iterations}`, "
        f"{date.today()}, {platform.machine()} CPU, {os.cpu_count()} cores, on the scenes of "
        "`make_demo_data.py --source-images 400 --target-images 160`. "
        f"{study.about} IoU in percent on the target's val split "
        f"({images} images) after the last iteration, mean ± sample standard deviation over the "
        "seeds 0 to 2, or 0 to 4 where five are stated.\n",
        "| | " + " | ".join(results) + " |",
        "|---|" + "---:|" * len(results),
        "| seeds | " + " | ".join(str(len(runs)) for runs in results.values()) + " |",
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
