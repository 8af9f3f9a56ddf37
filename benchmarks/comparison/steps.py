"""A training step, and the bare passes of its networks.

Legend: batch of 2 random images, random weights. The naive formulation has the same step with
networks of plain operators, see `naive_networks.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from training_step import build, leave_classes_out, training_batch

from comparison import naive_networks
from comparison.sizes import Amount, StepCase
from mmseg.config import load_config
from mmseg.engine import build_optimizer

BANK = 2000  # source crops; the metric is measured by itself
CHANNELS = {"b0": [32, 64, 160, 256], "b5": [64, 128, 320, 512]}


@dataclass
class Steps:
    """Steps of one method; each call takes the time of one step and of its passes."""

    method: Any
    optimizer: Any
    batch: dict[str, Any]
    iteration: int = 0

    def __call__(self) -> dict[str, float]:
        """Return the CPU seconds of a step and of its bare passes."""
        start = time.process_time()
        self.method.train_step(self.batch, self.optimizer, self.iteration)
        middle = time.process_time()
        self.passes()
        end = time.process_time()
        self.method.zero_grad(set_to_none=True)
        self.iteration += 1
        return {"step": middle - start, "its passes": end - middle}

    def passes(self) -> None:
        """Run each network as often as a step does: forward, loss, backward; the others forward."""
        method, batch = self.method, self.batch
        images, metas, labels = batch["img"], batch["img_metas"], batch["gt_semantic_seg"]
        # Source and mixed images; guidance; masked images.
        for _ in range(2 + (method.cdda is not None) + (method.mic is not None)):
            losses = method.model.forward_train(images, metas, labels)
            sum(value for key, value in losses.items() if "loss" in key).backward()
        with torch.no_grad():
            method.ema_model.generate_pseudo_label(batch["target_img"], metas)
            if method.feature_distance is not None:
                method.imnet_model.extract_feat(images)


def make(case: StepCase, amount: Amount, is_naive: bool) -> Callable[[], dict[str, float]]:
    """Build a method; the first step, which allocates, is done."""
    torch.manual_seed(0)
    side, backbone = amount.side(case), amount.backbone(case)
    cfg = load_config(f"configs/{case.config}")
    cfg["crop_size"] = (side, side)
    model = cfg.model
    model.backbone["type"] = f"mit_{backbone}"
    model.decode_head["in_channels"] = CHANNELS[backbone]
    if "hr_crop_size" in model:
        model["hr_crop_size"] = (side // 2, side // 2)
    if is_naive:
        naive_networks.use(model, CHANNELS[backbone])
    method = build(cfg, 20 if amount.tiny else BANK)
    leave_classes_out(method)
    batch = training_batch(method, 2, (side, side), torch.device("cpu"))
    steps = Steps(method, build_optimizer(method, cfg.optimizer, 2), batch)
    steps()
    return steps
