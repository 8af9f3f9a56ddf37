"""Panels that show what one training iteration saw and believed.

Legend: B images, H×W pixels, h×w cells of a feature map.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmseg.datasets.pipelines.photometric import denormalize
from mmseg.visualization.mosaic import Cell, mosaic
from mmseg.visualization.palettes import colorize, heat, save_picture

Pictures = Mapping[str, Any]
MIN_CELL_WIDTH, MAX_CELL_WIDTH = 200, 320  # room for titles; small files

# Columns of two pictures (title, key); the key tells the kind of picture.
OVERVIEW = (
    (("Source Image", "source_image"), ("Target Image", "target_image")),
    (("Source Seg GT", "source_label"), ("Target Seg (Pseudo) GT", "pseudo_label")),
    (("Mixed Image", "mixed_image"), ("Domain Mask", "domain_mask")),
    (("Pseudo W.", "mixed_weight"), ("Seg Targ", "mixed_label")),
    (("FDist Mask", "feature_distance_mask"), ("Scaled GT", "feature_distance_label")),
)
# What CDDA adds on the right.
DEPTH_MATCH = (
    (("Matched Source", "matched_image"), ("Target Depth", "target_depth")),
    (("Matched Seg GT", "matched_label"), ("Reweighted", "reweighted")),
)
# One column per training phase (title, beginning of its keys), one row per kind of picture.
PHASES = (
    ("Source", "source"), ("Target", "target"), ("Mix", "mixed"),
    ("Mask Teacher", "masked_teacher"), ("Masked", "masked"),
)  # fmt: skip
KINDS = (("Image", "image"), ("Label", "label"), ("Prediction", "prediction"))
# HRDA: the prediction is fused from details and context.
SCALE_KINDS = (
    ("Image", "image"), ("Label", "label"), ("High Res", "high_resolution"),
    ("Low Res", "low_resolution"), ("Fused", "prediction"), ("Attention", "attention"),
    ("Cropped GT", "cropped_label"),
)  # fmt: skip
OTHER_NAMES = {"target_label": "pseudo_label", "masked_teacher_image": "target_image"}
SCALES = ("_high_resolution", "_low_resolution")
CLASS_MAPS = ("_label", "_prediction", *SCALES)


def write_debug_panels(pictures: Pictures, folder: str | Path, iteration: int) -> list[Path]:
    """Write two panels per image, `{iteration+1:06d}_{image}.png` and `…_s.png`; return the files.

    Pictures are images (B, 3, H, W) normalized, label maps, weights and attention (B, H, W) or
    (B, h, w), and `img_norm_cfg`; keys of phases that did not run are left out. Predictions may be
    logits (B, C, h, w); attention may be (B, C, h, w), of which the mean is shown. `palette` has a
    color per class; None is that of street scenes. `iteration` is counted from 0.
    """
    files = []
    inputs = [pictures[key] for key in ("source_image", "target_image") if key in pictures]
    cell_width = min(max(MIN_CELL_WIDTH, inputs[0].shape[-1]), MAX_CELL_WIDTH)
    for image in range(max(map(len, inputs))):
        for rows, ending in ((_overview(pictures, image), ""), (_phases(pictures, image), "_s")):
            files.append(Path(folder, f"{iteration + 1:06d}_{image}{ending}.png"))
            save_picture(files[-1], mosaic(rows, cell_width))
    return files


def _overview(pictures: Pictures, image: int) -> list[list[Cell]]:
    has_match = any(key in pictures for column in DEPTH_MATCH for _, key in column)
    rows = zip(*OVERVIEW, *(DEPTH_MATCH if has_match else ()), strict=True)
    return [[_cell(pictures, title, key, image) for title, key in row] for row in rows]


def _phases(pictures: Pictures, image: int) -> list[list[Cell]]:
    kinds = SCALE_KINDS if any(key.endswith(SCALES) for key in pictures) else KINDS
    ran = [each for each in PHASES if any(f"{each[1]}_{kind}" in pictures for _, kind in kinds)]
    return [
        [_cell(pictures, f"{title} {name}", f"{phase}_{kind}", image) for title, phase in ran]
        for name, kind in kinds
    ]


def _cell(pictures: Pictures, title: str, key: str, image: int) -> Cell:
    """Return one titled picture; empty if its phase did not run."""
    key = key if key in pictures else OTHER_NAMES.get(key, key)
    if pictures.get(key) is None or image >= len(pictures[key]):
        return Cell()
    values = pictures[key][image]
    if key.endswith("_image"):
        norm_cfg = pictures.get("img_norm_cfg")
        return Cell(title, denormalize(values, norm_cfg)[..., ::-1], is_smooth=True)
    is_class_map = key.endswith(CLASS_MAPS)
    array = _flat(torch.as_tensor(values).detach().float(), is_class_map).cpu().numpy()
    if is_class_map:
        return Cell(title, colorize(array, pictures.get("palette")))
    high = 255.0 if key == "target_depth" else 1.0
    return Cell(f"{title} [{array.min():.3g}, {array.max():.3g}]", heat(array, 0.0, high))


def _flat(values: torch.Tensor, is_class_map: bool) -> torch.Tensor:
    """Return (h, w) of (h, w), (1, h, w) or (C, h, w): the best class, or the mean over classes."""
    if values.ndim == 2 or len(values) == 1:
        return values if values.ndim == 2 else values[0]
    return values.argmax(0) if is_class_map else values.mean(0)
