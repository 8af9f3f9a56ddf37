"""Time and peak memory of training steps of a config, on random images with random weights.

No dataset is needed: the bank of depth statistics and the source crops are random too. What is
measured is the step alone, without loading.

python benchmarks/training_step.py configs/cdda/gta2cs_cdda_daformer --steps 3
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from mmseg.config import load_config  # noqa: E402
from mmseg.engine import build_optimizer  # noqa: E402
from mmseg.engine.meters import memory_in_use  # noqa: E402
from mmseg.models import build_train_model  # noqa: E402
from mmseg.models.uda.depthmetric import DepthMetric  # noqa: E402

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
    method, size = build(options, device)
    optimizer = build_optimizer(method, load_config(options.config).optimizer)
    batch = random_batch(options.batch_size, size, device)
    method.train_step(batch, optimizer, 1)  # the first step allocates
    seconds = []
    for step in range(options.steps):
        wait(device)
        start = time.perf_counter()
        method.train_step(batch, optimizer, step + 2)
        wait(device)
        seconds.append(time.perf_counter() - start)
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads"
    )
    memory = memory_in_use(device) * 2**20 / 1e9  # GB of 10⁹ bytes
    print(
        f"| `{options.config}` | {options.batch_size} × {size[0]}×{size[1]} | {name} | "
        f"{min(seconds):.2f} s (median {statistics.median(seconds):.2f}) | {memory:.1f} GB |"
    )


def build(options: argparse.Namespace, device: torch.device) -> tuple[Any, tuple[int, int]]:
    """Return the training method, with a random bank if it is CDDA, and its crop size."""
    cfg = load_config(options.config)
    size = tuple(cfg.crop_size)
    cfg.model["pretrained"] = None
    uda = cfg.uda
    is_depth = uda.get("matrix_path") is not None
    uda["matrix_path"] = None
    method: Any = build_train_model(cfg)
    if is_depth:
        count = options.crops or NUM_CROPS[uda.dataset]
        # Small thresholds: every branch of CDDA runs.
        bank = torch.randint(0, 9, (count, method.model.num_classes, 256)).float()
        method.depth_metric = DepthMetric(
            bank, uda.dataset, reweight_threshold=-1.0, relabel_threshold=-1.0
        )
        crop = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        method.crops = SimpleNamespace(read=lambda index: crop)
    return method.to(device), size


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


def wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
