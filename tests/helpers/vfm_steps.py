"""Training steps of VFM-UDA(++) that the reference recorded (golden V), and how to repeat them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_init import arr, blocky_labels, values
from torch import Tensor, nn

from mmseg.config import Config
from mmseg.datasets.image_files import write_label
from mmseg.datasets.pipelines.photometric import IMAGENET
from mmseg.models import build_train_model
from mmseg.models.uda import Draws
from mmseg.models.uda.depthmetric import depth_histogram
from mmseg.models.uda.draws import ImageJitter, JitterKind, JitterStep
from mmseg.models.uda.jitter import STRONG, UDA, WEAK
from mmseg.models.uda.mixing import Normalization
from mmseg.visualization.palettes import save_picture

FOLDER = Path(__file__).parents[1] / "golden" / "V"
SIDE, INNER = 192, 224
TINY = {"embed_dim": 128, "depth": 8, "num_heads": 2, "img_size": 98, "init_values": 1.0}
FROZEN = {"embed_dim": 64, "depth": 2, "num_heads": 1, "img_size": 518, "init_values": 1.0}
BRIGHTNESS = {WEAK: 0.9, STRONG: 0.7, UDA: 0.95}
PLAIN, REGISTERS = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
DISTANCE = {"model_name": REGISTERS, "model_kwargs": FROZEN}
MODEL: dict[str, Any] = {
    "type": "EncoderDecoder",
    "backbone": {
        "type": "ViTAdapter",
        "inner_size": INNER,
        "vit": {"type": "TIMMBackbone", "model_name": PLAIN, "model_kwargs": TINY},
    },
    "decode_head": {
        "type": "PyramidHead",
        "in_channels": 128,
        "num_classes": 19,
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    },
    "test_cfg": {"mode": "whole"},
}
METHOD: dict[str, Any] = {
    "type": "DACS",
    "alpha": 0.999,
    "jitter": "torchvision",
    "strong_source": True,
    "teacher_flip": True,
    "mask_mode": "separatetrgaug",
    "mask_lambda": 1,
    "mask_generator": {"type": "block", "mask_block_size": 64, "mask_ratio": 0.7, "at": "inner"},
}


@cache
def records() -> dict[str, Any]:
    return json.loads((FOLDER / "steps.json").read_text())["cases"]


@cache
def arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "steps.npz") as stored:
        return dict(stored)


class FixedDraws(Draws):
    """The choices that the recording of `case` made."""

    case = "step"

    def image_jitters(self, purpose: str, kind: JitterKind, count: int) -> list[ImageJitter]:
        return [ImageJitter(((JitterStep.BRIGHTNESS, BRIGHTNESS[kind]),))] * count

    def mix_classes(self, labels: Tensor) -> Tensor:
        chosen = torch.zeros(len(labels), 20, dtype=torch.bool)
        chosen[:, labels.unique().clamp(max=19)[::2]] = True
        return chosen

    def keep_grid(self, batch: int, rows: int, columns: int, mask_ratio: float) -> Tensor:
        assert (rows, columns) == (4, 4)
        drawn = arr(f"V:{self.case}:mask{self.iteration}", (batch, 1, rows, columns), "uniform")
        return torch.from_numpy(drawn > mask_ratio).float()


def fixed_draws(case: str, iteration: int) -> FixedDraws:
    draws = FixedDraws(iteration=iteration)
    draws.case = case
    return draws


def reference_name(key: str) -> str:
    """Return the name that the reference gives a weight of the student."""
    if key == "decode_head.conv_seg.weight":
        return "out.weight"
    for ours, theirs in (("backbone.vit.", "encoder."), ("backbone.", "encoder.")):
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return "upscale." + key.removeprefix("decode_head.").removeprefix("upscale.")


def fill(network: nn.Module, prefix: str) -> None:
    """Fill a student or teacher with the recorded weights."""
    state = {}
    for key, value in network.state_dict().items():
        name = reference_name(key)
        weights = torch.from_numpy(values(prefix + name, value.shape))
        state[key] = weights * (16 if name == "out.weight" else 1)
    network.load_state_dict(state)


def fill_projection(head: nn.Module, prefix: str) -> None:
    for key, value in head.state_dict().items():
        value.copy_(torch.from_numpy(values(f"{prefix}feat_project.{key}", value.shape)))


def frozen_file(path: Path, prefix: str) -> str:
    """Write the frozen ViT in Meta's layout, and return its place."""
    vit = build_train_model(method({}, DISTANCE)).vfm_distance.encoder
    shapes = {k: tuple(v.shape) for k, v in vit.state_dict().items() if k != "reg_token"}
    shapes |= {"pos_embed": (1, 1370, 64), "register_tokens": (1, 4, 64), "mask_token": (1, 64)}
    content = {k: torch.from_numpy(values(prefix + k, shape)) for k, shape in shapes.items()}
    torch.save(content, path)
    return str(path)


def method(changes: dict[str, Any], distance: dict[str, Any] | None = None) -> Config:
    uda = {**METHOD, "vfm_feature_dist": distance, **changes}
    return Config({"model": MODEL, "uda": uda, "runner": {"max_iters": 40_000}})


def build(folder: Path, dtype: torch.dtype, has_distance: bool = True, **changes: Any) -> Any:
    """Build the method with the recorded weights; `changes` are keys of `uda`."""
    distance = None
    if has_distance:
        distance = {**DISTANCE, "pretrained": frozen_file(folder / "frozen.pth", "V:fx:")}
    uda: Any = build_train_model(method(changes, distance))
    fill(uda.model, "V:net:")
    fill(uda.ema_model, "V:net:")
    if uda.vfm_distance is not None:
        uda.vfm_distance.init_weights()
        fill_projection(uda.vfm_distance.feat_project, "V:fh:")
    return uda.to(dtype)


def picture(label: np.ndarray, noise: str) -> np.ndarray:
    """Paint a label map: (3, H, W) uint8."""
    painted = np.stack([label * factor % 256 for factor in (37, 91, 53)]).astype(np.float32)
    painted += arr(noise, (3, SIDE, SIDE), "uniform", lo=-20, hi=20)
    return np.clip(painted, 0, 255).astype(np.uint8)


def margins(case: str) -> Tensor:
    """Return (2, 1, H, W) of 0/1; those of CDDA's case are the same for both images."""
    mask = torch.ones(2, 1, SIDE, SIDE, dtype=torch.uint8)
    mask[:, :, :6] = mask[:, :, -48:] = mask[..., :5] = 0
    if case != "cdda":
        mask[0, :, :, -9:] = 0
    return mask


def loader_batch(
    case: str, iteration: int, dtype: torch.dtype, flips: bool = False
) -> dict[str, Any]:
    """Return the recorded batch as the loader would; `flips` mirrors the target images."""
    pictures: dict[str, list[np.ndarray]] = {"s": [], "t": []}
    sources = []
    for b in range(2):
        for side in pictures:
            name = f"{side}{iteration}_{b}"
            label = blocky_labels(f"V:{case}:lab_{name}", SIDE, SIDE, range(19), 32, 0)
            pictures[side].append(picture(label, f"V:{case}:noise_{name}"))
            if side == "s":
                ignored = arr(f"V:{case}:ign{iteration}_{b}", (SIDE, SIDE), "uniform") < 0.05
                sources.append(np.where(ignored, 255, label))
    normalization = Normalization.of(IMAGENET)
    source, target = (
        normalization.from_bytes(torch.from_numpy(np.stack(each)).to(dtype))
        for each in pictures.values()
    )
    mask = margins(case)
    metas = [{"img_norm_cfg": IMAGENET, "img_shape": (SIDE, SIDE, 3), "flip": flips}] * 2
    return {
        "img": source,
        "img_metas": metas,
        "gt_semantic_seg": torch.from_numpy(np.stack(sources))[:, None],
        "target_img": target.flip(3) if flips else target,
        "target_img_metas": metas,
        "valid_pseudo_mask": mask.flip(3) if flips else mask,
    }


def write_bank(folder: Path) -> dict[str, Any]:
    """Write the source crops and the bank of CDDA's case, and return the keys of `uda`."""
    histograms = []
    for i in range(12):
        classes = [c for c in range(19) if (c + i) % 4]
        label = blocky_labels(f"V:cdda:crop_lab{i}", SIDE, SIDE, classes, 16 if i % 2 else 8, 0.03)
        depth = 8 * blocky_labels(f"V:cdda:crop_dep{i}", SIDE, SIDE, range(16 - i % 3), 4)
        painted = picture(np.where(label == 255, 19, label), f"V:cdda:crop{i}")
        save_picture(folder / f"images/{i}.png", painted.transpose(1, 2, 0))
        write_label(folder / f"labels/{i}.png", label.astype(np.uint8))
        histograms.append(depth_histogram(torch.from_numpy(label), torch.from_numpy(depth)))
    torch.save(torch.stack(histograms), folder / "gta_12_distribution.pth")
    return {
        "dataset": "gta",
        "matrix_path": str(folder / "gta_12_distribution.pth"),
        "croped_images_path": str(folder / "images"),
        "croped_labels_path": str(folder / "labels"),
        "reweight_threshold": 0.25,
        "relabel_threshold": 0.2,
        "threshold_decay": 0.003,
    }


def target_depth() -> Tensor:
    """Return the bins (2, H, W) of the target images of CDDA's case."""
    maps = [blocky_labels(f"V:cdda:tdep{b}", SIDE, SIDE, range(12 + 4 * b), 4) for b in range(2)]
    return torch.from_numpy(8 * np.stack(maps))
