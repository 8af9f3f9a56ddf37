"""How fast are archives? A dataset as large as GTA's, packed and unpacked, and its first iteration.

Draws a few street scenes of 1914x1052 pixels in GTA's and Cityscapes' raw formats, repeats them
under other names until there are `--images` of each, and packs them as they are downloaded. Then it
compares the samples per second of archives and folders, in turns, and measures the time from
`tools/train.py` on the archives, nothing converted, to the first iteration.

python benchmarks/archives.py --images 1000 --write
"""

import argparse
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from results import write_section

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo.datasets import demo_jobs, draw  # noqa: E402
from mmseg.config import load_config  # noqa: E402
from mmseg.datasets import build_dataset  # noqa: E402

SIZE = (1914, 1052)
SCENES = 4  # that are drawn; the others are copies
CONFIG = """
_base_ = ["{root}/configs/demo/source_only.py"]
load_from = None
_source = dict(
    data_root="{data}/gta", img_dir="images.zip!/images", ann_dir="labels.zip!/labels", dep_dir=None
)
_target = dict(
    data_root="{data}/cityscapes", img_dir="leftImg8bit.zip!/leftImg8bit/train", ann_dir=None,
    dep_dir=None,
)
data = dict(
    workers_per_gpu=2,
    train=dict(source=_source, target=_target, rare_class_sampling=dict(min_pixels=1)),
)
runner = dict(max_iters=1)
log_config = dict(interval=1)
"""


def main() -> None:
    """Draw, pack, measure, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10, help="of both kinds, in turns")
    parser.add_argument("--samples", type=int, default=20, help="in a round")
    parser.add_argument("--write", action="store_true", help="put the result into RESULTS.md")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        data = Path(name, "data")
        make_data(data, options.images)
        config = Path(name, "archives.py")
        config.write_text(CONFIG.format(root=ROOT.as_posix(), data=data.as_posix()))
        rates = compare(config, options.rounds, options.samples)
        before = size_below(data)
        seconds = first_iteration(config, Path(name, "run"))
        added = size_below(data) - before
    text = section(options, rates, seconds, added)
    print(text)
    if options.write:
        write_section("archives", text, ROOT / "benchmarks/RESULTS.md")


def make_data(data: Path, count: int) -> None:
    """Draw scenes, copy them until there are enough, and pack the folders."""
    for job in demo_jobs(data, SCENES, SCENES, SIZE):
        if job.domain.name != "synthia":
            draw(job, seed=0)
    for folder in ("gta/images", "gta/labels", "cityscapes/leftImg8bit/train"):
        files = sorted(p for p in (data / folder).rglob("*") if p.is_file())
        number = len(files)
        for index in range(len(files), count):
            own = files[index % number]
            name = re.sub(r"\d{5,6}", f"{index + 1:0>6}"[-5:], own.name, count=1)
            shutil.copy(own, own.with_name(name))
        with zipfile.ZipFile(data / f"{folder.replace('/train', '')}.zip", "w") as archive:
            for file in sorted((data / folder).rglob("*")):
                archive.write(file, file.relative_to(data / folder.split("/")[0]))


def compare(config: Path, rounds: int, samples: int) -> dict[str, list[float]]:
    """Return the source samples per second of each round, from archives and from folders."""
    section: Any = load_config(config).data.train.source.to_dict()
    places = {"archives": {}, "folders": {"img_dir": "images", "ann_dir": "labels"}}
    datasets = {name: build_dataset({**section, **own}) for name, own in places.items()}
    rates: dict[str, list[float]] = {name: [] for name in places}
    for number in range(rounds):
        for name, dataset in datasets.items():
            start = time.perf_counter()
            for index in range(number * samples, (number + 1) * samples):
                dataset.sample(index % len(dataset), np.random.default_rng(index))
            rates[name].append(samples / (time.perf_counter() - start))
    return rates


def first_iteration(config: Path, work_dir: Path) -> float:
    """Return the seconds from the command to the end of its first iteration."""
    command = [sys.executable, "tools/train.py", str(config), "--work-dir", str(work_dir)]
    start = time.perf_counter()
    subprocess.run([*command, "--no-validate"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def size_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def section(
    options: argparse.Namespace, rates: dict[str, Sequence[float]], seconds: float, added: int
) -> str:
    """Return the section as Markdown."""
    best = {name: max(values) for name, values in rates.items()}
    middle = {name: statistics.median(values) for name, values in rates.items()}
    lines = [
        "## Datasets in archives\n",
        f"`python benchmarks/archives.py --images {options.images}`, {date.today()}, "
        f"{platform.machine()} CPU: {options.images} images of 1914×1052 in GTA's raw format (zip, "
        f"stored), one process, {options.rounds} rounds of {options.samples} samples in turns.\n",
        "| | samples/s, best | median |",
        "|---|---:|---:|",
        *(f"| {name} | {best[name]:.2f} | {middle[name]:.2f} |" for name in rates),
        f"| share | {best['archives'] / best['folders']:.3f} | "
        f"{middle['archives'] / middle['folders']:.3f} |",
        "",
        f"From `tools/train.py` on the archives, with nothing converted, to the end of the first "
        f"iteration: {seconds:.0f} s, with two workers; the classes of all labels are counted in "
        f"it, and the counts take {added / 1e3:.0f} kB beside the data.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
