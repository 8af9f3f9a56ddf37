"""Load a trained network and label images with it."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg.apis.dataset_sections import classes_and_palette
from mmseg.config import Config, load_config
from mmseg.config.registry import SEGMENTORS
from mmseg.config.run_config import read_parts
from mmseg.datasets import collate
from mmseg.datasets.labels import CLASSES, PALETTE
from mmseg.datasets.pipelines import Compose, start_results
from mmseg.engine.checkpoint import load_weights
from mmseg.engine.evaluator import predict
from mmseg.models import build_segmentor
from mmseg.models.legacy import with_present_names

Image = str | Path | np.ndarray


def init_segmentor(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    network: str = "student",
) -> Any:
    """Build the network of a config, fill it from a checkpoint, and put it into eval mode.

    Args:
        config: path (with or without .py), or a loaded config.
        checkpoint: of this program or of the family; None keeps the initial weights.
        device: by default the GPU if there is one, else the CPU.
        network: 'student' or 'teacher' of the checkpoint.

    Returns the network, with `CLASSES`, `PALETTE` and `cfg`.

    Raises:
        CheckpointError: for a checkpoint of another network, or one without the teacher wanted.
        UnsafeFileError: for a checkpoint of more than tensors and plain values; see
            `mmseg.system.safe_loading.trusting_files`.
    """
    cfg = config if isinstance(config, Config) else load_config(config)
    parts = read_parts(cfg)
    SEGMENTORS.check(with_present_names(parts.model))
    section: Any = copy.deepcopy(parts.model)
    section.update(pretrained=None, train_cfg=None)
    if "pretrained" in section.get("backbone", {}):
        section["backbone"]["pretrained"] = None
    model: Any = build_segmentor(section, test_cfg=parts.test_cfg)
    meta = load_weights(model, checkpoint, network) if checkpoint is not None else {}
    classes, palette = classes_and_palette(parts.data) or (CLASSES, PALETTE)
    model.CLASSES = meta.get("CLASSES") or classes
    model.PALETTE = meta.get("PALETTE") or palette
    model.cfg = cfg
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def inference_segmentor(model: Any, img: Image | Sequence[Image]) -> list[np.ndarray]:
    """Label one image or several with the test pipeline of the network's config.

    `model` is from `init_segmentor`; `img` is a path, or pixels (H, W, 3) in the order blue, green,
    red; or a list of them. Returns one (H, W) uint8 map of classes per image.
    """
    images: list[Any] = list(img) if isinstance(img, list | tuple) else [img]
    steps = list(model.cfg.data.test.pipeline)
    return [predict(model, collate([_sample(steps, image)])) for image in images]


def _sample(steps: list[Mapping[str, Any]], image: Image) -> dict[str, Any]:
    """Run a test pipeline on a file, or (without its loading step) on pixels."""
    rng = np.random.default_rng(0)
    if isinstance(image, np.ndarray):
        rest = [step for step in steps if step["type"] != "LoadImageFromFile"]
        return Compose(rest)({**start_results(image), "rng": rng})
    info = {"img_info": {"filename": str(image)}, "img_prefix": None, "seg_fields": [], "rng": rng}
    return Compose(steps)(info)
