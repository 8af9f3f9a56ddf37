"""Folders with tiny depth networks of random weights, in the form that the hub's models have.

`transformers` is imported when a network is made: a process that only reads them needs no time.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
RESCALED = {"do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True}


def save_tiny_depth_anything(
    folder: Path, seed: int = 0, shorter_side: int | None = 28, is_metric: bool = False
) -> Path:
    """Save a Depth Anything network with two layers and 8 channels.

    Args:
        folder: to write to.
        seed: of the weights.
        shorter_side: of the network's input, as preprocessor_config.json says it; None writes no
            such file.
        is_metric: predict meters, at most 80, not inverse depth.
    """
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        image_size=28,
        patch_size=14,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[1, 2],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=8,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[6, 10],
        fusion_hidden_size=4,
        head_hidden_size=3,
        depth_estimation_type="metric" if is_metric else "relative",
        max_depth=80 if is_metric else 1,
    )
    model = _seeded(DepthAnythingForDepthEstimation, config, seed)
    model.head.conv3.weight.data.abs_()  # it stands between two ReLUs: so not all becomes 0
    rule = None
    if shorter_side is not None:
        size = {"height": shorter_side, "width": shorter_side}
        rule = {**RESCALED, **IMAGENET, "size": size, "resample": 3, "do_normalize": True}
        rule |= {"keep_aspect_ratio": True, "ensure_multiple_of": 14, "do_pad": False}
        rule |= {"image_processor_type": "DPTImageProcessor"}
    return _saved(model, folder, rule)


def save_tiny_dpt(folder: Path, seed: int = 0) -> Path:
    """Save a DPT network: inverse depth; every picture becomes 32x32, its values -1…1."""
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        image_size=32,
        patch_size=16,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        backbone_out_indices=[0, 1],
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[6, 10],
        fusion_hidden_size=4,
    )
    model = _seeded(DPTForDepthEstimation, config, seed)
    model.head.head[4].weight.data.abs_()  # as above
    rule = {**RESCALED, "size": {"height": 32, "width": 32}, "resample": 3, "do_normalize": True}
    rule |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "ensure_multiple_of": 1}
    rule |= {"keep_aspect_ratio": False, "image_processor_type": "DPTImageProcessor"}
    return _saved(model, folder, rule)


def save_tiny_glpn(folder: Path, seed: int = 0) -> Path:
    """Save a GLPN network: meters; sides are cut down to multiples of 32, its values 0…1."""
    from transformers import GLPNConfig, GLPNForDepthEstimation

    config = GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 6, 8, 10],
        num_attention_heads=[1, 2, 2, 2],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=4,
    )
    model = _seeded(GLPNForDepthEstimation, config, seed)
    rule = {"do_rescale": True, "do_resize": True, "size_divisor": 32, "resample": 2}
    return _saved(model, folder, {**rule, "image_processor_type": "GLPNImageProcessor"})


def _seeded(kind: Any, config: Any, seed: int) -> Any:
    """Return a network whose weights depend on the seed alone and keep a picture's contrasts.

    They are numpy's numbers: torch's own are others on other processors.
    """
    with torch.random.fork_rng(devices=[]):
        model = kind(config).eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                spread = parameter[0].numel() ** -0.5
                parameter.copy_(torch.from_numpy(rng.normal(0, spread, parameter.shape)))
    return model


def _saved(model: Any, folder: Path, rule: dict[str, Any] | None) -> Path:
    model.save_pretrained(folder)
    if rule is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(rule, indent=2))
    return folder
