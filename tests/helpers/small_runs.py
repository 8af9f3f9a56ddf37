"""Runs of a few iterations of every method, and how to tell that two runs are the same run.

    root = tmp_path_factory.mktemp("material")
    small_runs.write_material(root)                 # pictures, depth, crops, bank, backbones
    values = small_runs.config(root, "cdda", work_dir=..., runner={"max_iters": 6})
    path = tiny_run.write_config(root / "cdda.py", values)    # for tools/train.py, or
    run_training(Config(values), TrainOptions(work_dir=...))  # in this process
    assert small_runs.differences(first_dir / "latest.pth", second_dir / "latest.pth") == []
    assert small_runs.logged(first_dir) == small_runs.logged(second_dir)

`METHODS` are "source_only", "daformer" (with feature distance) and "cdda" (with a real bank and
crops; images are re-weighted and replaced, from the third iteration on some are guided). Those of
`SCALE_METHODS` train HRDA around a smaller network and have margins of the target images: "hrda"
(CDDA, feature distance on both scales), "mic" (CDDA with masked target images) and "mic_teacher"
(the same with a second teacher, which alpha and threshold tell from the first). All have dropout,
stochastic depth, jitter and blur, a batch of 2, logs every 3 iterations, checkpoints every 2, an
evaluation at the end only, and 6 iterations of 0.1 to 0.3 s. Sections given as keywords are
merged into the section, not put in its place. A process of its own needs nothing from here: it runs
`tools/train.py` on the written config. Everything is a function of the fixed seeds.
"""

import json
from pathlib import Path
from typing import Any

import gen_scene
import models_cfg
import numpy as np
import tiny_run
import torch

from mmseg.config.registry import BACKBONES
from mmseg.datasets.depth.bins import depth_to_bins
from mmseg.datasets.image_files import write_label
from mmseg.datasets.labels import PALETTE
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.models.uda.depthmetric import depth_histogram
from mmseg.visualization.palettes import colorize, save_picture

METHODS = ("source_only", "daformer", "cdda")
SCALE_METHODS = ("hrda", "mic", "mic_teacher")
SMALL_BACKBONE = {
    "type": "MixVisionTransformer",
    "embed_dims": [8, 12, 16, 24],
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 3],
}
MASKED = {
    "mask_mode": "separatetrgaug",
    "mask_lambda": 1,
    "mask_generator": {"type": "block", "mask_ratio": 0.7, "mask_block_size": 16},
}
CROPS = 5
THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)
UNREPEATABLE = ("time", "data_time", "memory")  # of a record in the log


def write_material(root: Path) -> None:
    """Write what the configs read.

    That is tiny_run's pictures, depth of the target's training images, crops, their bank, and
    files of "pretrained" backbones.
    """
    tiny_run.write_pictures(root)
    images = sorted((root / "target/leftImg8bit/train").rglob("*.png"))
    scenes = gen_scene.scenes(70, len(images), tiny_run.HEIGHT, tiny_run.WIDTH)
    for image, (_, stored) in zip(images, scenes, strict=True):
        name = image.relative_to(root / "target/leftImg8bit")
        file = str(root / "target/depth" / name).replace("leftImg8bit", "depth")
        write_label(file, stored.astype(np.uint8))
    for name, section in (("mit_b0", {"type": "mit_b0"}), ("small", SMALL_BACKBONE)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(72)
            backbone = BACKBONES.build(section)
            backbone.init_weights()
            # Trained ones have biases. Without, the norms of a masked block have no variance, and
            # the gradients overflow.
            for weights in backbone.parameters():
                if weights.ndim == 1:
                    weights.data += 0.1 * torch.randn_like(weights)
        torch.save(backbone.state_dict(), root / f"{name}.pth")
    histograms = []
    for number, (label, stored) in enumerate(
        gen_scene.scenes(71, CROPS, tiny_run.CROP, tiny_run.CROP)
    ):
        save_picture(root / f"crops/images/{number}.png", colorize(label, PALETTE))
        write_label(root / f"crops/labels/{number}.png", label.astype(np.uint8))
        bins = depth_to_bins(stored.astype(np.uint8))
        histograms.append(depth_histogram(torch.from_numpy(label), torch.from_numpy(bins)))
    torch.save(torch.stack(histograms), root / f"crops/gta_{CROPS}_distribution.pth")


def config(root: Path, method: str = "cdda", **changes: Any) -> dict[str, Any]:
    """Return a whole config for the material in `root`.

    Args:
        root: see `write_material`.
        method: one of `METHODS` or `SCALE_METHODS`.
        **changes: values, or sections to merge into the config's own.
    """
    values = tiny_run.config(root, name=f"small_{method}")
    values["uda"] = _uda(root, method)
    target = values["data"]["train"]["target"]
    target["dep_dir"] = str(root / "target/depth/train")
    if method in SCALE_METHODS:
        values["model"] = _hrda("all" if method == "hrda" else 0.5)
        target["crop_pseudo_margins"] = [3, 9, 2, 4]
    if method != "source_only":  # the others measure the distance to the features of such a file
        file = "small" if method in SCALE_METHODS else "mit_b0"
        values["model"]["pretrained"] = str(root / f"{file}.pth")
    values["runner"]["max_iters"] = 6
    values["log_config"].update(interval=3, img_interval=10**9)
    values["evaluation"]["interval"] = 10**9
    for key, change in changes.items():
        is_section = isinstance(change, dict) and isinstance(values.get(key), dict)
        values[key] = {**values[key], **change} if is_section else change
    return values


def _uda(root: Path, method: str) -> dict[str, Any]:
    if method == "source_only":
        return {"type": "DACS", "source_only": True}
    uda: dict[str, Any] = {
        "type": "DACS",
        "alpha": 0.9,
        "pseudo_threshold": 0.06,  # of 19 classes; a new network is hardly more certain
        "color_jitter_probability": 0.1,
        "imnet_feature_dist_lambda": 0.005,
        "imnet_feature_dist_classes": list(THINGS),
        "imnet_feature_dist_scale_min_ratio": 0.3,
    }
    if method == "daformer":
        return uda
    assert method in ("cdda", *SCALE_METHODS), method
    if method.startswith("mic"):
        uda |= MASKED
    if method == "mic_teacher":
        uda |= {"mask_alpha": 0.4, "mask_pseudo_threshold": 0.056}
    has_scales = method in SCALE_METHODS
    if has_scales:  # the fused prediction of a new network is hardly more than a guess
        uda |= {"pseudo_threshold": 0.054, "imnet_feature_dist_scale_min_ratio": 0.1}
    return {
        **uda,
        "dataset": "gta",
        "matrix_path": str(root / f"crops/gta_{CROPS}_distribution.pth"),
        "croped_images_path": str(root / "crops/images"),
        "croped_labels_path": str(root / "crops/labels"),
        "reweight_threshold": 0.0,
        "relabel_threshold": 0.005 if has_scales else 0.03,
        "threshold_decay": 0.0,
    }


def _hrda(feature_scale: float | str) -> dict[str, Any]:
    """Return a network whose context is the crop at half size, with details of half the side."""
    crop, half = (tiny_run.CROP,) * 2, (tiny_run.CROP // 2,) * 2
    model = models_cfg.hrda(
        channels=16,
        embed=16,
        hr_crop=half,
        test_cfg={"mode": "slide", "batched_slide": True, "crop_size": crop, "stride": half},
        feature_scale=feature_scale,
    )
    model["backbone"] = SMALL_BACKBONE
    model["decode_head"]["in_channels"] = SMALL_BACKBONE["embed_dims"]
    return {k: v for k, v in model.items() if k != "train_cfg"}


def differences(first: Path, second: Path) -> list[str]:
    """Return the names of the values in which two checkpoints differ by at least one bit.

    All is compared but `meta.time` and `meta.config`, whose text names the work folder.
    """
    ours, theirs = (_flat(read_checkpoint(file)) for file in (first, second))
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if not _same(ours.get(name), theirs.get(name))]


def logged(work_dir: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the newest record of every (mode, iteration) in a run's JSON logs.

    Times and memory are left out.
    """
    records = {}
    for file in sorted(work_dir.glob("*.log.json")):
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "iter" in record:
                kept = {k: v for k, v in record.items() if k not in UNREPEATABLE}
                records[record["mode"], record["iter"]] = kept
    return records


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Give every tensor and plain value of a nested content a name of its own."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {name: value}
    flat = {}
    for key, item in items:
        inner = f"{name}/{key}"
        if inner not in ("/meta/time", "/meta/config"):
            flat |= _flat(item, inner)
    return flat


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        is_alike = ours.dtype == theirs.dtype and ours.shape == theirs.shape
        return is_alike and torch.equal(*(t.flatten().view(torch.uint8) for t in (ours, theirs)))
    return type(ours) is type(theirs) and ours == theirs
