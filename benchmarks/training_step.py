"""Time and peak memory of training steps of a config, on random images with random weights.

No dataset is needed: the bank of depth statistics and the source crops are random too. What is
measured is the step alone, without loading.

python benchmarks/training_step.py configs/cdda/gta2cs_cdda_daformer --steps 3
python benchmarks/training_step.py configs/cdda/gtaHR2csHR_cdda_mic --steps 1 --batch-size 1
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from mmseg.config import Config, load_config  # noqa: E402
from mmseg.engine import build_optimizer  # noqa: E402
from mmseg.engine.meters import memory_in_use  # noqa: E402
from mmseg.models import build_train_model  # noqa: E402
from mmseg.models.uda.depthmetric import CDDA  # noqa: E402

NUM_CROPS = {"gta": 24_966, "synthia": 9_400}


def main() -> None:
    """Measure and print one line of a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--crops", type=int, help="in the bank (default: as published)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cfg = load_config(options.config)
    size = tuple(cfg.crop_size)
    method = build(cfg, options.crops, lambda count: random_material(count, size)).to(device)
    leave_classes_out(method)
    optimizer = build_optimizer(method, cfg.optimizer)
    batch = training_batch(method, options.batch_size, size, device)
    logged = method.train_step(batch, optimizer, 1)  # the first step allocates
    assert method.cdda is None or "tgt.loss" in logged  # all of CDDA runs
    seconds = []
    for step in range(options.steps):
        wait(device)
        start = time.perf_counter()
        method.train_step(batch, optimizer, step + 2)
        wait(device)
        seconds.append(time.perf_counter() - start)
    print(
        f"| `{options.config}` | {options.batch_size} × {size[0]}×{size[1]} | {device_name(device)}"
        f" | {min(seconds):.2f} s (median {statistics.median(seconds):.2f}) | "
        f"{peak_memory(device):.1f} GB |"
    )


def build(
    cfg: Config, count: int | None, make_material: Callable[[int], tuple[torch.Tensor, Any]]
) -> Any:
    """Return a config's training method with random weights.

    Args:
        cfg: whole config; its `pretrained` and `matrix_path` are taken out.
        count: number of source crops if it is CDDA; None for as many as published.
        make_material: gives, for a number of crops, their bank and how to read one.
    """
    cfg.model["pretrained"] = None
    is_depth = cfg.uda.get("matrix_path") is not None
    cfg.uda["matrix_path"] = None
    method: Any = build_train_model(cfg)
    method.init_weights()
    if is_depth:
        bank, read = make_material(count or NUM_CROPS[cfg.uda.dataset])
        # Small thresholds: every image is re-weighted, replaced and, if it can be, guided.
        settings = replace(method.settings, reweight_threshold=-1.0, relabel_threshold=-1.0)
        method.cdda = CDDA(settings, bank, SimpleNamespace(read=read))
    return method


def random_material(count: int, size: tuple[int, int]) -> tuple[torch.Tensor, Any]:
    """Return a bank of random counts and a function that gives a black crop."""
    crop = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    return torch.randint(0, 9, (count, 19, 256)).float(), lambda index: crop


def leave_classes_out(method: Any) -> None:
    """Let the networks predict the first ten classes only, so that CDDA guides the others."""
    for name, bias in method.named_parameters():
        if name.endswith("conv_seg.bias") and "scale_attention" not in name:
            with torch.no_grad():
                bias[10:] = -50


def training_batch(
    method: Any, number: int, size: tuple[int, int], device: torch.device
) -> dict[str, Any]:
    """Return a random batch with all that a method needs."""
    batch = random_batch(number, size, device)
    if method.settings.pseudo_weight_ignore_top == 0:  # the config has margins of images instead
        batch["valid_pseudo_mask"] = torch.ones_like(batch["gt_semantic_seg"], dtype=torch.uint8)
    return batch


def random_batch(number: int, size: tuple[int, int], device: torch.device) -> dict[str, Any]:
    """Return a batch as the loader makes it."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, number, 3, *size, generator=generator).to(device)
    labels = torch.randint(0, 19, (number, 1, *size), generator=generator).to(device)
    metas = [{"img_shape": (*size, 3)} for _ in range(number)]
    depth = torch.randint(0, 256, (number, *size), generator=generator).float().to(device)
    return {
        "img": images[0], "img_metas": metas, "gt_semantic_seg": labels,
        "target_img": images[1], "target_img_metas": metas, "target_depth": depth,
    }  # fmt: skip


def device_name(device: torch.device) -> str:
    """Say what computes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads"


def peak_memory(device: torch.device) -> float:
    """Return the largest use of memory so far, in GB of 10⁹ bytes; NaN where nobody tells."""
    return (memory_in_use(device) or math.nan) * 2**20 / 1e9


def wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
