"""Time of training steps of any config, with random weights, images, and crops.

python benchmarks/training_step.py configs/cdda/gta2cs_cdda_daformer --steps 3
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from mmseg.config import Config, load_config  # noqa: E402
from mmseg.datasets.short_names import usual_crops  # noqa: E402
from mmseg.engine import build_optimizer  # noqa: E402
from mmseg.models import build_train_model  # noqa: E402
from mmseg.models.uda.depthmetric import CDDA  # noqa: E402


def build(cfg: Config, num_crops: int | None) -> Any:
    """Return a config's training method with random weights.

    Args:
        cfg: whole config; its `pretrained` and `matrix_path` are cleared.
        num_crops: random source crops, if the method is CDDA; None for as many as published.
    """
    cfg.model["pretrained"] = None
    is_depth = cfg.uda.get("matrix_path") is not None
    cfg.uda["matrix_path"] = None
    method: Any = build_train_model(cfg)
    method.init_weights()
    if is_depth:
        crop = np.zeros((*cfg.crop_size, 3), np.uint8), np.zeros(cfg.crop_size, np.uint8)
        bank = random_bank(num_crops or usual_crops()[cfg.uda.dataset])
        # Low thresholds: every image is re-weighted, replaced and, if possible, guided.
        settings = replace(method.settings, reweight_threshold=-1.0, relabel_threshold=-1.0)
        method.cdda = CDDA(settings, bank, SimpleNamespace(read=lambda index: crop))
    return method


def random_bank(num_crops: int) -> torch.Tensor:
    """Return (M, 19, 256) counts that are as full as those of real crops.

    Depth of 8 bits fills 119 of the bins, and a crop shows some 11 of the classes.
    """
    bank = torch.randint(0, 9, (num_crops, 19, 256)).float()
    bank[:, :, 119:] = 0
    return bank.mul_(torch.rand(num_crops, 19, 1) < 11 / 19)


def leave_classes_out(method: Any) -> None:
    """Make the networks predict only the first ten classes, so that CDDA guides the others."""
    for name, bias in method.named_parameters():
        if name.endswith("conv_seg.bias") and "scale_attention" not in name:
            with torch.no_grad():
                bias[10:] = -50


def training_batch(
    method: Any, number: int, size: tuple[int, int], device: torch.device
) -> dict[str, Any]:
    """Return a random batch, as the loader makes it, with everything that the method needs."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, number, 3, *size, generator=generator).to(device)
    labels = torch.randint(0, 19, (number, 1, *size), generator=generator).to(device)
    metas = [{"img_shape": (*size, 3)} for _ in range(number)]
    depth = torch.randint(0, 256, (number, *size), generator=generator).float().to(device)
    batch = {
        "img": images[0], "img_metas": metas, "gt_semantic_seg": labels,
        "target_img": images[1], "target_img_metas": metas, "target_depth": depth,
    }  # fmt: skip
    if method.settings.pseudo_weight_ignore_top == 0:  # the target dataset masks margins instead
        batch["valid_pseudo_mask"] = torch.ones_like(labels, dtype=torch.uint8)
    return batch


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads"


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


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
    method = build(cfg, options.crops).to(device)
    leave_classes_out(method)
    optimizer = build_optimizer(method, cfg.optimizer, options.batch_size)
    batch = training_batch(method, options.batch_size, cfg.crop_size, device)
    method.train_step(batch, optimizer, 0)  # the first step allocates
    seconds = []
    for step in range(1, options.steps + 1):
        wait(device)
        start = time.perf_counter()
        method.train_step(batch, optimizer, step)
        wait(device)
        seconds.append(time.perf_counter() - start)
    print(
        f"| `{options.config}` | {options.batch_size} | {device_name(device)} | "
        f"{min(seconds):.2f} s (median {statistics.median(seconds):.2f}) |"
    )


if __name__ == "__main__":
    main()
