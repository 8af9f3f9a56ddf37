"""The loader: samples per second, from generated files as large as GTA's and Cityscapes'."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from acceptance import ROOT, depth_networks
from acceptance.bench import Bench
from mmseg.config import load_config
from mmseg.datasets import build_dataset, build_train_loader
from mmseg.datasets.class_statistics import IMAGES_FILE, STATISTICS_FILE
from mmseg.datasets.image_files import write_label
from mmseg.system.machine import usable_cores

TABLE = "loader"
IMAGES = 4  # of each domain; so few that the system keeps them all in memory
BLOCK = 64  # pixels along the side of a patch of one class
MOST_WORKERS = 16
SECONDS = 3.0


def loader(bench: Bench) -> None:
    """Count samples of both domains per second, for 1, 2, 4, … workers."""
    cfg = load_config(ROOT / "configs" / bench.scale.loader_config)
    train = cfg.data.train
    folder, scale = bench.folder, bench.scale
    _write(folder / "source", train.source, scale.source_size, "_labelTrainIds.png")
    _write(folder / "target", train.target, scale.target_size, "_gtFine_labelTrainIds.png")
    dataset = build_dataset(train)
    workers = 1
    while workers <= min(usable_cores(), MOST_WORKERS):
        if bench.has_time(f"{TABLE} with {workers} workers", seconds=SECONDS + 3):
            rate = _rate(bench, dataset, cfg.data.samples_per_gpu, workers)
            row = {"config": bench.scale.loader_config, "workers": workers}
            bench.record.measure(TABLE, **row, samples_per_second=rate)
        workers *= 2


def _rate(bench: Bench, dataset: Any, number: int, workers: int) -> float:
    """Return the pairs of source and target samples per second, once all workers are busy."""
    batches = iter(build_train_loader(dataset, number, workers, 0, 0, 10**6))
    for _ in range(workers + 1):
        next(batches)
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < min(SECONDS, bench.scale.seconds):
        next(batches)
        count += 1
    seconds = time.perf_counter() - start
    batches.close()  # ends the workers
    return count * number / seconds


def _write(root: Path, part: Any, size: tuple[int, int], suffix: str) -> None:
    """Write images, labels, depth and class statistics, and point the config to them."""
    part.data_root, part.img_dir, part.ann_dir = str(root), "images", "labels"
    part.img_suffix = ".png"
    part.dep_dir = str(root / "depth") if part.get("dep_dir") else None
    height, width = size
    root.mkdir()
    depth_networks.draw_images(root / "images", f"{width}x{height}", IMAGES)
    rng = np.random.default_rng(0)
    statistics: list[dict[str, Any]] = []
    for image in sorted((root / "images").iterdir()):
        label, depth = _draw_scene(rng, size)
        name = f"{image.stem}{suffix}"
        write_label(root / "labels" / name, label)
        write_label(root / "depth" / image.name, depth)
        pixels = np.bincount(label.ravel(), minlength=19)
        statistics.append({"file": name, **{str(c): int(n) for c, n in enumerate(pixels) if n}})
    index = {
        str(c): [[entry["file"], entry[str(c)]] for entry in statistics if str(c) in entry]
        for c in range(19)
    }
    (root / STATISTICS_FILE).write_text(json.dumps(statistics))
    (root / IMAGES_FILE).write_text(json.dumps(index))


def _draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return trainIds in patches and stored depth that grows downward, (H, W) uint8 each."""
    height, width = size
    grid = -(-height // BLOCK), -(-width // BLOCK)
    label = np.kron(rng.integers(0, 19, grid), np.ones((BLOCK, BLOCK), int))[:height, :width]
    near = np.linspace(0, 250, height)[:, None] + rng.integers(0, 40, grid[1]).repeat(BLOCK)[:width]
    return label.astype(np.uint8), near.clip(0, 255).astype(np.uint8)
