"""Time of CDDA's depth metric on a bank of the published size, against the whole bank at once.

The bank is random, but as sparse as real ones: a crop shows about 11 of 19 classes, and only the
119 bins that 8-bit depth can fall into are filled.

OMP_NUM_THREADS=1 python benchmarks/depth_metric.py
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from mmseg.datasets.depth.bins import NUM_BINS, depth_to_bins  # noqa: E402
from mmseg.models.uda.depthmetric import DepthMetric, depth_histogram  # noqa: E402
from mmseg.models.uda.depthmetric.similarity import class_similarity  # noqa: E402

CLASSES, SIDE, BATCH = 19, 512, 2
IN_TARGET = 12  # classes that a pseudo-label shows
STORED = torch.arange(256)  # values of an 8-bit depth map


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--crops", type=int, default=24_966)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    compared = Compared(options.crops, torch.device(options.device))
    print(
        f"{options.crops} crops with {compared.shown:.1f} classes each, {BATCH} images of "
        f"{SIDE}×{SIDE} with {IN_TARGET} classes; {options.device}, {torch.get_num_threads()} CPU "
        f"threads. Bank {compared.megabytes[0]:.0f} MB, kept {compared.megabytes[1]:.0f} MB; "
        f"largest difference of a similarity {compared.error:.1e}.\n\n"
        "| | least | median |\n|---|---|---|"
    )
    for name, seconds in measure(compared.calls, options.runs).items():
        least, median = 1e3 * min(seconds), 1e3 * statistics.median(seconds)
        print(f"| {name} | {least:.1f} ms | {median:.1f} ms |")


class Compared:
    """What is timed on a random bank of `count` crops.

    Attributes:
        calls: by name.
        shown: classes of a crop.
        megabytes: of the whole bank and of the metric's.
        error: largest difference of a similarity between the two.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        histograms = random_bank(count, generator)
        label, depth = (x.to(device) for x in random_target(generator))
        metric = DepthMetric(histograms, reweight_threshold=0.5, relabel_threshold=0.5).to(device)
        whole = WholeBank(histograms.to(device))
        target = depth_histogram(label, depth)
        weight, confident = torch.ones(label.shape).to(device), label < CLASSES
        self.calls: dict[str, Callable[[], object]] = {
            "similarity, whole bank at once": lambda: whole.similarity(target),
            "similarity, as the metric does it": lambda: class_similarity(target, metric.bank),
            "histograms of the target": lambda: depth_histogram(label, depth),
            "whole metric": lambda: metric(label, weight, confident, depth, 0),
        }
        error = (class_similarity(target, metric.bank) - whole.similarity(target)).abs()
        self.error = float(error.max())
        self.shown = float((histograms.sum(2) > 0).sum(1).float().mean())
        self.megabytes = [counts.nbytes / 1e6 for counts in (whole.counts, metric.bank.counts)]


class WholeBank:
    """All classes, crops and bins, empty or not, with what repeats: the obvious way to compare.

    Args:
        histograms: (M, C, D) counts.
    """

    def __init__(self, histograms: Tensor) -> None:
        self.counts = histograms.transpose(0, 1).contiguous()  # (C, M, D)
        self.sizes = self.counts.sum(2)[:, None]  # (C, 1, M)
        self.norms = self.counts.norm(dim=2)[:, None]

    def similarity(self, target: Tensor) -> Tensor:
        """Return (B, M, C) similarities with the target's histograms (B, C, D)."""
        own = target.transpose(0, 1)  # (C, B, D)
        sizes = own.sum(2, keepdim=True)
        norms = own.norm(dim=2, keepdim=True) * self.norms
        dot = torch.bmm(own, self.counts.transpose(1, 2))  # (C, B, M)
        cosine = torch.where(norms > 0, dot / norms, 0.0)
        distance = torch.cdist(own, self.counts, p=1) / (sizes + self.sizes).clamp(min=1)
        return torch.where(sizes > 0, (cosine + 1 - distance) / 2, 0.0).permute(1, 2, 0)


def random_bank(count: int, generator: torch.Generator) -> Tensor:
    """Return (M, C, D) histograms; frequent classes come first and are larger."""
    chance = torch.linspace(1.0, 0.16, CLASSES)
    shares = torch.rand(count, CLASSES, generator=generator) * chance
    shares *= torch.rand(count, CLASSES, generator=generator) < chance
    pixels = shares / shares.sum(1, keepdim=True) * SIDE**2
    bins = torch.from_numpy(depth_to_bins(STORED.numpy().astype(np.uint8))).long()
    bank = torch.zeros(count, CLASSES, NUM_BINS)
    for c in range(CLASSES):
        curve = torch.exp(-(((STORED - centers(count, generator)) / widths(count, generator)) ** 2))
        expected = pixels[:, c, None] * curve / curve.sum(1, keepdim=True)
        whole = (expected + torch.rand(curve.shape, generator=generator)).floor()
        bank[:, c].index_add_(1, bins, whole * (expected > 0))
    return bank


def random_target(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return labels (B, H, W) in stripes, and depth bins of a narrow range for each class."""
    edges = torch.rand(BATCH, IN_TARGET - 1, generator=generator).sort(1).values * SIDE
    rows = torch.arange(SIDE).float().expand(BATCH, SIDE).contiguous()
    label = torch.searchsorted(edges, rows, right=True)[..., None].expand(-1, -1, SIDE)
    noise = torch.randn(label.shape, generator=generator)
    center, width = centers(IN_TARGET, generator)[:, 0], widths(IN_TARGET, generator)[:, 0]
    stored = (center[label] + width[label] * noise / 2**0.5).clamp(0, 255)
    depth = depth_to_bins(stored.numpy().astype(np.uint8))
    return label.contiguous(), torch.from_numpy(depth).float()


def centers(count: int, generator: torch.Generator) -> Tensor:
    """Return (N, 1) stored depth values."""
    return torch.rand(count, 1, generator=generator) * 255


def widths(count: int, generator: torch.Generator) -> Tensor:
    """Return (N, 1) spreads of stored depth values."""
    return 10 + torch.rand(count, 1, generator=generator) * 70


def measure(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Return the seconds of every call, in turn, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if run:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
