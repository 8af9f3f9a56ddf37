"""Measurements of single parts: matrix products, depth metric, prediction, depth network."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from training_step import wait

from acceptance import ROOT, depth_networks
from acceptance.bench import Bench
from acceptance.device import allow_tf32, has_bfloat16, memory
from acceptance.steps import BF16, FP32, NO_BF16, TF32
from mmseg.config import load_config
from mmseg.datasets import GTADataset
from mmseg.datasets.depth.bins import depth_to_bins
from mmseg.models import build_segmentor
from mmseg.models.uda.depthmetric import DepthMetric, depth_histogram
from mmseg.models.uda.depthmetric.histogram import count_pixels
from mmseg.models.uda.depthmetric.similarity import Target, best_match
from mmseg.preprocessing.depth_maps.network import load_network, require_transformers

PRODUCT, METRIC, PREDICTION = "matrix product", "depth metric", "prediction"
DEPTH_NETWORK = "depth network"
REPEATS = 5
AT_LEAST = 0.3  # seconds in which an idle GPU reaches its full clock rate


def seconds_of(bench: Bench, call: Callable[[], object]) -> float:
    """Return the fewest seconds that a call took, after one that does not count."""
    call()
    found, begin, passed = [], time.monotonic(), 0.0
    while (len(found) < REPEATS or passed < AT_LEAST) and (passed < bench.scale.seconds):
        wait(bench.device)
        start = time.perf_counter()
        call()
        wait(bench.device)
        found.append(time.perf_counter() - start)
        passed = time.monotonic() - begin
    return min(found)


def matrix_products(bench: Bench) -> None:
    """Measure the rate of large matrix products in each precision."""
    cells = bench.scale.cells
    for mode in (FP32, TF32, BF16):
        if mode is BF16 and not has_bfloat16(bench.device):
            bench.record.leave_out(f"{PRODUCT} {mode.name}", NO_BF16)
            continue
        allow_tf32(mode.has_tf32)
        dtype = torch.bfloat16 if mode is BF16 else torch.float32
        a, b = (torch.randn(cells, cells, device=bench.device).to(dtype) for _ in range(2))
        seconds = seconds_of(bench, lambda a=a, b=b: a @ b)
        bench.peaks[mode.name] = tflops = 2 * cells**3 / seconds / 1e12
        bench.record.measure(PRODUCT, mode=mode.name, cells=cells, seconds=seconds, tflops=tflops)


def metric(bench: Bench) -> None:
    """Measure the depth metric by itself, on a bank of the published size."""
    allow_tf32(False)
    crops = bench.scale.bank or GTADataset.NUM_CROPS
    with bench.trying(METRIC, METRIC, crops=crops):
        for name, call in metric_calls(crops, bench.device).items():
            bench.record.measure(METRIC, call=name, crops=crops, seconds=seconds_of(bench, call))


def metric_calls(crops: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return what the depth metric does for two images of 512×512, by name."""
    bank, label, depth = (x.to(device) for x in random_statistics(crops))
    judge = DepthMetric(bank, reweight_threshold=0.5, relabel_threshold=0.5).to(device)
    target = Target.of(count_pixels(label, depth, 19), judge.bank)
    weight, confident = torch.ones_like(depth), torch.ones_like(label, dtype=torch.bool)
    return {
        "best match": lambda: best_match(target, judge.bank),
        "histograms of the target": lambda: depth_histogram(label, depth),
        "whole metric": lambda: judge(label, weight, confident, depth, 0),
    }


def random_statistics(crops: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a bank (M, 19, 256) as sparse as real ones, and labels and depth (2, 512, 512).

    A crop shows about 11 of the 19 classes, a pseudo-label 12; 8-bit depth falls into 119 bins.
    """
    generator = torch.Generator().manual_seed(0)
    bins = torch.from_numpy(np.unique(depth_to_bins(np.arange(256, dtype=np.uint8)))).long()
    bank = torch.zeros(crops, 19, 256)
    bank[:, :, bins] = torch.randint(1, 200, (crops, 19, len(bins)), generator=generator).float()
    bank *= torch.rand(crops, 19, 1, generator=generator) < 11 / 19
    label = torch.randint(0, 12, (2, 512, 512), generator=generator)
    depth = bins[torch.randint(0, len(bins), label.shape, generator=generator)].float()
    return bank, label, depth


def predictions(bench: Bench) -> None:
    """Measure the prediction of a whole image, with and without windows."""
    torch.backends.cudnn.benchmark = True
    for config in bench.scale.published[:2]:  # DAFormer; MIC's network is HRDA's
        if not bench.has_time(f"{PREDICTION}: {config}", seconds=20):
            continue
        cfg = load_config(ROOT / "configs" / config)
        cfg.model["pretrained"] = None
        network: Any = build_segmentor(cfg.model)
        network.init_weights()
        network = network.to(bench.device).eval()
        is_slide = network.test_cfg["mode"] == "slide"
        for windows in bench.scale.windows if is_slide else (None,):
            if windows is not None:
                network.test_cfg = {**network.test_cfg, "window_batch_size": windows}
            for mode in (FP32, BF16):
                row = {"config": config, "mode": mode.name, "windows": windows}
                if mode is not BF16 or has_bfloat16(bench.device):
                    _predict(bench, network, row, mode)


def _predict(bench: Bench, network: Any, row: dict[str, Any], mode: Any) -> None:
    name = f"{PREDICTION}: {row['config']} {mode.name}, windows {row['windows']}"
    if not bench.has_time(name, seconds=8):
        return
    allow_tf32(mode.has_tf32)
    height, width = bench.scale.target_size
    image = torch.randn(1, 3, height, width, device=bench.device)
    metas = [{"ori_shape": (height, width, 3), "img_shape": (height, width, 3), "flip": False}]
    is_half = mode.dtype is not None
    with bench.trying(name, PREDICTION, **row):
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=is_half):
            seconds = seconds_of(bench, lambda: network.simple_test(image, metas))
        used = memory(bench.device)
        bench.record.measure(PREDICTION, **row, size=f"{width}x{height}", seconds=seconds, **used)


def depth_network(bench: Bench) -> None:
    """Measure networks of Depth Anything V2's sizes, with random weights."""
    try:
        require_transformers()
    except ImportError as error:
        bench.record.leave_out(DEPTH_NETWORK, str(error).split(";")[0])
        return
    allow_tf32(False)
    for name in bench.scale.depth_networks:
        folder = Path(tempfile.mkdtemp(dir=bench.folder))
        depth_networks.save_network(folder, depth_networks.ARCHITECTURES[name])
        for amp in (False, True):
            if bench.has_time(f"{DEPTH_NETWORK} {name}, amp {amp}", seconds=12):
                _make_maps(bench, name, folder, amp)


def _make_maps(bench: Bench, name: str, folder: Path, amp: bool) -> None:
    number, size = depth_networks.usual_batch_size(bench.device), bench.scale.target_size
    row = {"network": name, "amp": amp, "batch": number, "size": f"{size[1]}x{size[0]}"}
    with bench.trying(f"{DEPTH_NETWORK} {name}, amp {amp}", DEPTH_NETWORK, **row):
        network = load_network(str(folder), bench.device, amp)
        pixels = torch.from_numpy(network.rule.pixels(np.full((*size, 3), 128, np.uint8)))
        batch: Tensor = pixels.expand(number, -1, -1, -1).contiguous().to(bench.device)
        seconds = seconds_of(bench, lambda: network.maps(batch, size)) / number
        used = memory(bench.device)
        rate = 1 / seconds
        bench.record.measure(DEPTH_NETWORK, **row, seconds=seconds, images_per_second=rate, **used)
