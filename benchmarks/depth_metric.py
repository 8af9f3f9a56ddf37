"""Time of the depth metric of one iteration, beside the formula as it is written down.

OMP_NUM_THREADS=1 python benchmarks/depth_metric.py --crops 24966 --runs 12
OMP_NUM_THREADS=2 python benchmarks/depth_metric.py --crops 1000000 --images 1

The banks are random and as sparse as real ones; beyond 24,966 crops they repeat these. "Every crop"
is the search without bounds, as if each crop could be the best. Seconds of the processor, all
threads together, on a CPU; wall-clock time on a GPU.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from acceptance.parts import random_statistics  # noqa: E402
from torch import Tensor  # noqa: E402
from training_step import device_name, wait  # noqa: E402

from mmseg.datasets.depth import rows  # noqa: E402
from mmseg.datasets.depth.rows import compact  # noqa: E402
from mmseg.models.uda.depthmetric import DepthMetric, depth_histogram  # noqa: E402
from mmseg.models.uda.depthmetric import similarity as search  # noqa: E402
from mmseg.models.uda.depthmetric.bank import Bank  # noqa: E402
from mmseg.models.uda.depthmetric.histogram import count_pixels  # noqa: E402

PUBLISHED = 24_966  # crops of the published bank


def written_down(target: Tensor, bank: Tensor) -> Tensor:
    """Find the best crops (B,) for (B, C, D) histograms in a whole bank (M, C, D)."""
    own, counts = target.transpose(0, 1), bank.transpose(0, 1)  # (C, B, D), (C, M, D)
    sizes, theirs = own.sum(2)[:, :, None], counts.sum(2)[:, None]
    norms = own.norm(dim=2)[:, :, None] * counts.norm(dim=2)[:, None]
    cosine = torch.where(norms > 0, own @ counts.mT / norms, 0.0)
    distance = torch.cdist(own, counts, p=1) / (sizes + theirs).clamp(min=1)
    similarity = torch.where(sizes > 0, (cosine + 1 - distance) / 2, 0.0).sum(0)  # (B, M)
    alike = torch.cosine_similarity(target.sum(2)[:, None], bank.sum(2)[None], dim=2)
    return (similarity * alike).argmax(1)


def repeated(tensors: dict[str, Tensor], times: int) -> dict[str, Tensor]:
    """Return the rows of a bank whose crops come several times, as rows of 16 bits."""
    counts, numbers = tensors["counts"], tensors["rows"].T  # (R, K), (M, C)
    step = torch.arange(times, dtype=torch.int32)[:, None, None] * (len(counts) - 1)
    numbers = torch.where(numbers > 0, numbers + step, 0).flatten(0, 1)
    own = {"places": torch.stack([numbers, torch.zeros_like(numbers)]), "bins": tensors["bins"]}
    for name in ("classes", "totals", "norms"):
        values = tensors[name]
        own[name] = torch.cat([values[:1], values[1:].repeat(times), values[:1]])
    narrow = counts[1:].to(rows.NARROW).repeat(times, 1)
    return {
        "counts_narrow": torch.cat([narrow.new_zeros(1, narrow.shape[1]), narrow]),
        "counts_wide": counts[:1],
        "rows": numbers.T.contiguous(),
        "sizes": tensors["sizes"].repeat(1, times),
        "size_norms": tensors["size_norms"].repeat(times),
        **own,
    }


def calls_of(crops: int, images: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    bank, label, depth = random_statistics(min(crops, PUBLISHED))
    tensors = compact(bank)
    if crops > PUBLISHED:
        tensors = repeated(tensors, -(-crops // PUBLISHED))
    label, depth = label[:images].to(device), depth[:images].to(device)
    metric = DepthMetric(Bank(tensors), reweight_threshold=0.5, relabel_threshold=0.5).to(device)
    weight, confident = torch.ones_like(depth), torch.ones_like(label, dtype=torch.bool)
    target = search.Target.of(count_pixels(label, depth, 19), metric.bank)
    calls: dict[str, Callable[[], object]] = {
        "histograms of the target": lambda: depth_histogram(label, depth),
        "best match": lambda: search.best_match(target, metric.bank),
        "whole metric": lambda: metric(label, weight, confident, depth, 0),
    }
    if device.type == "cpu":
        every = torch.arange(len(metric.bank)).split(search.CHUNK)
        one = target.image(0)
        calls["every crop, one image"] = lambda: [
            search._best_of(chunk, one, metric.bank) for chunk in every
        ]
    if crops <= PUBLISHED:
        whole, histograms = bank.to(device), depth_histogram(label, depth)
        calls["best match, as written down"] = lambda: written_down(histograms, whole)
    return calls


def main() -> None:
    """Measure every part in turns and print the fastest of its runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--crops", type=int, default=PUBLISHED)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    calls = calls_of(options.crops, options.images, device)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.runs + 1):  # the first one allocates
        for name, call in calls.items():
            wait(device)
            start = clock()
            call()
            wait(device)
            seconds[name].append(clock() - start)
    for name, found in seconds.items():
        print(f"| {name} | {device_name(device)} | {min(found[1:]) * 1e3:.3g} ms |")


if __name__ == "__main__":
    main()
