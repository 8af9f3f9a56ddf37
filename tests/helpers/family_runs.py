"""Runs of a few iterations of every method of the family on every network of it.

    family_runs.write_material(root)
    values = family_runs.config(root, "advseg_mic", "deeplabv2", runner={"max_iters": 4})

Like `small_runs`, whose material and sections they share; without the depth of CDDA except for the
methods that begin with `cdda`. `FOUNDATION_METHODS`, those of VFM-UDA, each have a network of their
own, a tiny ViT.
"""

from pathlib import Path
from typing import Any

import small_runs
import torch

from mmseg.config.registry import BACKBONES

NETWORKS = ("daformer", "hrda", "deeplabv2")
RESNET = {
    "type": "ResNetV1c",
    "depth": 18,
    "stem_channels": 8,
    "base_channels": 8,
    "dilations": [1, 1, 2, 4],
    "strides": [1, 2, 1, 1],
    "contract_dilation": True,
}
SELF_TRAINING = ("alpha", "pseudo_threshold", "color_jitter_probability")
SECOND_TEACHER = {"mask_alpha": 0.4, "mask_pseudo_threshold": None}
MASKED_SOURCE = {**small_runs.MASKED, "mask_mode": "separatesrc"}
# What `uda` adds to the type and, but for source-only, to the keys of self-training.
METHODS: dict[str, dict[str, Any]] = {
    "source_only": {"source_only": True},
    "source_only_mic": {"source_only": True, **MASKED_SOURCE},
    "minent": {"type": "MinEnt"},
    "minent_mic": {"type": "MinEnt", **small_runs.MASKED},
    "advseg": {"type": "AdvSeg"},
    "advseg_mic": {"type": "AdvSeg", "discriminator_type": "Vanilla", **small_runs.MASKED},
    "dacs": {},
    "dacs_mic": {**small_runs.MASKED, "mask_mode": "separate"},
    "daformer": {},
    "daformer_mic": small_runs.MASKED,
    "daformer_mic_teacher": {**small_runs.MASKED, **SECOND_TEACHER},
    "cdda": {},
    "cdda_mic": small_runs.MASKED,
}
# The methods of VFM-UDA, and on what they run.
FOUNDATION_METHODS = {"vfmuda": "vit", "vfmudapp": "vit_adapter", "cdda_vfm": "vit_adapter"}
TEACHER = {"jitter": "torchvision", "teacher_flip": True, "imnet_feature_dist_lambda": 0}
PLUS: dict[str, Any] = {
    **TEACHER,
    **small_runs.MASKED,
    "strong_source": True,
    "mask_generator": {**small_runs.MASKED["mask_generator"], "at": "inner"},
}
TOKENS = {**TEACHER, **small_runs.MASKED, "mask_generator": {"type": "token", "mask_ratio": 0.7}}
METHODS_OF_VIT = {"vfmuda": TOKENS, "vfmudapp": PLUS, "cdda_vfm": PLUS}
FROZEN = {
    "type": "TIMMBackbone",
    "model_name": "vit_small_patch14_reg4_dinov2",
    "model_kwargs": {"embed_dim": 8, "depth": 1, "num_heads": 2, "img_size": 42},
}
LIGHT = {
    "type": "TIMMBackbone",
    "model_name": "vit_small_patch14_dinov2",
    "model_kwargs": {"embed_dim": 12, "depth": 2, "num_heads": 2, "img_size": 42},
    "inner_size": 56,
    "mask_token": True,
    "final_norm": True,
}
ADAPTER = {
    "type": "ViTAdapter",
    "inner_size": 96,
    "norm_cfg": {"type": "BN", "momentum": 0.01},
    "vit": {
        "type": "TIMMBackbone",
        "model_name": "vit_tiny_patch16_224",
        "model_kwargs": {"embed_dim": 64, "depth": 4, "num_heads": 1, "img_size": 48},
    },
}


def write_material(root: Path) -> None:
    """Write what the configs read."""
    small_runs.write_material(root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(73)
        backbone = BACKBONES.build(RESNET)
        backbone.init_weights()
        frozen = BACKBONES.build(FROZEN)
    torch.save(backbone.state_dict(), root / "resnet.pth")
    torch.save(frozen.state_dict(), root / "frozen.pth")


def config(root: Path, method: str, network: str, **changes: Any) -> dict[str, Any]:
    """Return a whole config; `changes` are merged into the sections, as in `small_runs`."""
    base = "hrda" if network == "hrda" else "cdda"
    values = small_runs.config(root, base, name=f"{method}_{network}", **changes)
    if network == "deeplabv2":
        head = {"type": "DLV2Head", "in_channels": 64, "in_index": 3, "dilations": [2, 3]}
        loss = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
        values["model"] = {
            "type": "EncoderDecoder",
            "pretrained": str(root / "resnet.pth"),
            "backbone": RESNET,
            "decode_head": {**head, "num_classes": 19, "loss_decode": loss},
            "test_cfg": {"mode": "whole"},
        }
        values["uda"]["pseudo_threshold"] = 0.0527  # of 19 classes; new outputs are almost equal
    if network.startswith("vit"):
        values["model"] = _vit_model(network)
    if not method.startswith("cdda"):
        for domain in ("source", "target"):
            values["data"]["train"][domain].pop("dep_dir", None)
    values["uda"] = _uda(values["uda"], method)
    if network == "vit_adapter":
        keys = {key: FROZEN[key] for key in ("model_name", "model_kwargs")}
        keys |= {"pretrained": str(root / "frozen.pth"), "size": 56}
        values["uda"]["vfm_feature_dist"] = keys
    return values


def _vit_model(network: str) -> dict[str, Any]:
    loss = {"type": "CrossEntropyLoss", "avg_non_ignore": True}
    head: dict[str, Any] = {"type": "LightHead", "in_channels": 12}
    if network == "vit_adapter":
        head = {"type": "PyramidHead", "in_channels": 64, "norm_cfg": ADAPTER["norm_cfg"]}
    return {
        "type": "EncoderDecoder",
        "backbone": LIGHT if network == "vit" else ADAPTER,
        "decode_head": {**head, "num_classes": 19, "loss_decode": loss},
        "test_cfg": {"mode": "whole"},
    }


def _uda(full: dict[str, Any], method: str) -> dict[str, Any]:
    """Return the section of a method, made of the one of CDDA."""
    if method in METHODS_OF_VIT:
        kept = full if method.startswith("cdda") else {key: full[key] for key in SELF_TRAINING}
        return {"type": "DACS", **kept, **METHODS_OF_VIT[method]}
    if method.startswith("cdda"):
        return {**full, **METHODS[method]}
    kept = {key: full[key] for key in SELF_TRAINING}
    if method.startswith("daformer"):
        kept |= {key: value for key, value in full.items() if key.startswith("imnet_")}
    return {"type": "DACS", **kept, **METHODS[method]}
