"""Train a config for some iterations on generated images, then predict one whole image.

Tells whether every loss was finite, how long an iteration and a prediction take and how much memory
they need. No dataset is needed: images of 2048x1024 with classes and depth are drawn in memory, the
target's in other colors than the source's, and the source crops and their bank are cut from them.
Weights are random; CDDA's thresholds are so low that it re-weights and replaces every image.

python benchmarks/short_training.py configs/cdda/gtaHR2csHR_cdda_mic --iterations 200
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from training_step import build, device_name, peak_memory, wait

from mmseg.config import Config, load_config
from mmseg.datasets.depth.bins import depth_to_bins
from mmseg.datasets.labels import PALETTE
from mmseg.datasets.pipelines.photometric import IMAGENET
from mmseg.engine import build_optimizer
from mmseg.engine.schedule import build_schedule
from mmseg.models.uda.depthmetric import depth_histogram

SCENES, PREDICTIONS = 12, 3
BLOCK = 64  # pixels along the side of a piece of a class


@dataclass(frozen=True)
class Scene:
    """A drawn image: BGR (H, W, 3), trainIds (H, W) and depth bins (H, W), all uint8."""

    image: np.ndarray
    label: np.ndarray
    depth: np.ndarray

    def cut(self, rng: np.random.Generator, size: tuple[int, int]) -> "Scene":
        """Return a random window."""
        y, x = (int(rng.integers(a - b + 1)) for a, b in zip(self.label.shape, size, strict=True))
        window = slice(y, y + size[0]), slice(x, x + size[1])
        return Scene(self.image[window], self.label[window], self.depth[window])


def draw_scene(rng: np.random.Generator, size: tuple[int, int], is_target: bool) -> Scene:
    """Draw pieces of classes, the far ones at the top, with grain; the target is darker."""
    height, width = size
    grid = -(-height // BLOCK), -(-width // BLOCK)
    share = np.linspace(0, 1, grid[0])[:, None]  # of the height, from the top
    label = np.where(share < 0.2, rng.choice([8, 10, 10], grid), rng.integers(0, 19, grid))
    label = np.where(share > 0.7, rng.choice([0, 0, 0, 1, 13], grid), label)
    label = np.kron(label, np.ones((BLOCK, BLOCK), int))[:height, :width]
    colors = np.array(PALETTE)[label][..., ::-1] * (0.6 if is_target else 1.0)
    image = (colors + rng.normal(0, 20, (height, width, 3))).clip(0, 255)
    near = np.linspace(0, 250, height)[:, None] + rng.integers(0, 40, grid[1]).repeat(BLOCK)[:width]
    depth = depth_to_bins(near.clip(0, 255).astype(np.uint8))
    return Scene(image.astype(np.uint8), label.astype(np.uint8), depth)


def main() -> None:
    """Train, predict, and print lines of two Markdown tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--crops", type=int, help="in the bank (default: as published)")
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), help="rows, columns")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    cfg = load_config(options.config)
    rng = np.random.default_rng(0)
    source, target = (
        [draw_scene(rng, tuple(options.size), is_target) for _ in range(SCENES)]
        for is_target in (False, True)
    )
    size = tuple(cfg.crop_size)
    method = build(cfg, options.crops, lambda count: cut_material(count, source, size)).to(device)
    train(method, cfg, batches(cfg, source, target, options.batch_size, device), options)
    predict(method.model, target[0].image, options, device)


def cut_material(
    count: int, source: list[Scene], size: tuple[int, int]
) -> tuple[torch.Tensor, Any]:
    """Return a bank of `count` rows, the same few crops again and again, and how to read one."""
    rng = np.random.default_rng(1)
    crops = [scene.cut(rng, size) for scene in source]
    labels, depths = (
        torch.from_numpy(np.stack([getattr(crop, name) for crop in crops]))
        for name in ("label", "depth")
    )
    rows = torch.arange(count) % len(crops)
    read = [(crop.image.copy(), crop.label.copy()) for crop in crops]
    return depth_histogram(labels, depths)[rows].float(), lambda index: read[index % len(read)]


def batches(
    cfg: Config,
    source: list[Scene],
    target: list[Scene],
    number: int,
    device: torch.device,
) -> Iterator[dict[str, Any]]:
    """Yield batches as the loader makes them, without end."""
    rng = np.random.default_rng(2)
    size = tuple(cfg.crop_size)
    metas = [{"img_shape": (*size, 3), "img_norm_cfg": IMAGENET}] * number
    while True:
        ours, theirs = (
            [scenes[rng.integers(len(scenes))].cut(rng, size) for _ in range(number)]
            for scenes in (source, target)
        )
        label = np.stack([scene.label for scene in ours])[:, None]
        batch: dict[str, Any] = {
            "img": torch.stack([normalized(scene.image) for scene in ours]),
            "gt_semantic_seg": torch.from_numpy(label).long(),
            "target_img": torch.stack([normalized(scene.image) for scene in theirs]),
            "target_depth": torch.from_numpy(np.stack([scene.depth for scene in theirs])).float(),
        }
        if cfg.data.train.target.get("crop_pseudo_margins"):
            batch["valid_pseudo_mask"] = torch.ones(number, 1, *size, dtype=torch.uint8)
        batch = {key: value.to(device) for key, value in batch.items()}
        yield {**batch, "img_metas": metas, "target_img_metas": metas}


def normalized(image: np.ndarray) -> torch.Tensor:
    """Return (3, H, W) of an image (H, W, 3), as `Normalize` does."""
    rgb = image[..., ::-1].astype(np.float32)
    values = (rgb - np.float32(IMAGENET["mean"])) / np.float32(IMAGENET["std"])
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def train(method: Any, cfg: Config, data: Iterator[dict[str, Any]], options: Any) -> None:
    """Train, and print time, memory and the first losses that were not finite."""
    device = next(method.parameters()).device
    optimizer = build_optimizer(method, cfg.optimizer)
    schedule = build_schedule(cfg.lr_config, cfg.runner.max_iters)
    method.train()
    seconds, history, broken = [], [], []
    for iteration in range(options.iterations):
        batch = next(data)
        wait(device)
        start = time.perf_counter()
        schedule.apply(optimizer, iteration)
        logged = method.train_step(batch, optimizer, iteration)
        seconds.append(time.perf_counter() - start)
        history.append(logged)
        broken += [f"{k} at {iteration}" for k, v in logged.items() if not math.isfinite(v)]
    size = "×".join(map(str, cfg.crop_size))
    print("| config | batch | device | iterations | median time | peak memory | not finite |")
    print("|---|---|---|---:|---:|---:|---|")
    print(
        f"| `{options.config}` | {options.batch_size} × {size} | {device_name(device)} | "
        f"{len(seconds)} | {statistics.median(seconds):.2f} s | {peak_memory(device):.1f} GB | "
        f"{', '.join(broken[:5]) or 'none'} |\n"
    )
    count = max(1, len(history) // 10)
    for name in sorted({name for logged in history for name in logged}):
        values = [logged[name] for logged in history if name in logged]
        means = statistics.fmean(values[:count]), statistics.fmean(values[-count:])
        print(f"{name}: {means[0]:.4g} -> {means[1]:.4g} ({len(values)} values)")


def predict(network: Any, image: np.ndarray, options: Any, device: torch.device) -> None:
    """Predict a whole image as at test time, and print time and memory."""
    network.eval()
    height, width = image.shape[:2]
    metas = [{"ori_shape": (height, width, 3), "img_shape": (height, width, 3), "flip": False}]
    pixels = normalized(image)[None].to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(PREDICTIONS):
        wait(device)
        start = time.perf_counter()
        (label,) = network.simple_test(pixels, metas)
        seconds.append(time.perf_counter() - start)
    assert label.shape == (height, width)
    test_cfg = {k: v for k, v in network.test_cfg.items() if k != "mode"}
    print(
        f"\nOne {height}×{width} image, mode {network.test_cfg['mode']!r} {dict(test_cfg)}: "
        f"{min(seconds):.2f} s, peak {peak_memory(device):.1f} GB"
    )


if __name__ == "__main__":
    main()
