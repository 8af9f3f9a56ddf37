"""Tiny networks of the family, and checkpoints of them that need no other file."""

import copy
from pathlib import Path
from typing import Any

import hrda_networks
import models_cfg
import tiny_run
import torch
from golden_init import init_module

from mmseg.config import Config
from mmseg.models import build_segmentor

BN = {"type": "BN"}
CLASSES, PALETTE = ["road", "sky", "car", "tree", "wall"], [[9 * i, 40 * i, 5] for i in range(5)]
SLIDE = {"mode": "slide", "crop_size": (64, 64), "stride": (40, 32)}


def mit(**changes: Any) -> dict[str, Any]:
    sizes = {"embed_dims": (8, 16, 20, 32), "depths": (1, 1, 1, 1)}
    return {"type": "mit_b0", **sizes, **changes}


def resnet(depth: int = 50) -> dict[str, Any]:
    dilated = {"dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1), "norm_cfg": BN}
    return {"type": "ResNetV1c", "depth": depth, "stem_channels": 4, "base_channels": 4, **dilated}


def head(kind: str, **keys: Any) -> dict[str, Any]:
    """Return a head of all levels of `mit()`, or with `in_channels` of the last of a backbone."""
    levels = {"in_channels": [8, 16, 20, 32], "in_index": [0, 1, 2, 3]}
    return {"type": kind, **levels, "channels": 12, "num_classes": 5, "norm_cfg": BN, **keys}


def last(kind: str, channels: int, **keys: Any) -> dict[str, Any]:
    return head(kind, in_channels=channels, in_index=-1, **keys)


def network(backbone: Any, decode_head: Any, **keys: Any) -> dict[str, Any]:
    return {"type": "EncoderDecoder", "backbone": backbone, "decode_head": decode_head, **keys}


def hrda(**keys: Any) -> dict[str, Any]:
    cfg = models_cfg.hrda(channels=12, embed=12, hr_crop=(48, 64), **keys)
    cfg["backbone"] = mit()
    cfg["decode_head"] |= {"in_channels": [8, 16, 20, 32], "num_classes": 5}
    return {key: value for key, value in cfg.items() if key != "train_cfg"}


def daformer(fusion: str = "sepaspp") -> dict[str, Any]:
    parts = models_cfg.daformer_head([8, 16, 20, 32], 12, 12, fusion)
    return {**parts, "num_classes": 5}


def timm(name: str, decode_head: Any, **keys: Any) -> dict[str, Any]:
    return network({"type": "TIMMBackbone", "model_name": name, **keys}, decode_head)


CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 20, 32)}
VIT = {"embed_dim": 8, "depth": 2, "num_heads": 2, "img_size": 42}
FIRST = {"c1_in_channels": 16, "c1_channels": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "daformer": network(mit(), daformer()),
    "daformer_isa": network(mit(), daformer("isa")),
    "segformer": network(mit(), head("SegFormerHead", decoder_params={"embed_dim": 12})),
    "uper": network(mit(), head("UPerHead")),
    "deeplabv2": network(
        resnet(), {"type": "DLV2Head", "in_channels": 128, "num_classes": 5, "dilations": (6, 12)}
    ),
    "deeplabv3": network(resnet(), last("ASPPHead", 128)),
    "deeplabv3plus": network(resnet(), last("DepthwiseSeparableASPPHead", 128, **FIRST)),
    "psp": network(resnet(), last("PSPHead", 128)),
    "danet": network(resnet(), last("DAHead", 128, pam_channels=6)),
    "isanet": network(resnet(), last("ISAHead", 128, isa_channels=6)),
    "daformer_slide": network(mit(), daformer(), test_cfg=SLIDE),
    "hrda_of_blocks": hrda_networks.cfg(test_cfg=SLIDE),
    "hrda": hrda(),
    "hrda_slide": hrda(test_cfg=SLIDE),
    "hrda_at_once": hrda(hr_slide_inference=False),
    "convnext": timm("convnext_atto", head("UPerHead"), model_kwargs=CONVNEXT),
    "dinov2": timm("vit_small_patch14_dinov2", last("PSPHead", 8), model_kwargs=VIT, inner_size=56),
    "vit": timm("vit_small_patch14_dinov2", last("PSPHead", 8), model_kwargs=VIT),
}


def save_checkpoint(file: Path, model: dict[str, Any], **content: Any) -> Path:
    """Save a network of fixed weights; `content` replaces parts of the checkpoint."""
    cfg = Config(tiny_run.config(Path("nowhere"), model=copy.deepcopy(model)))
    meta = {"CLASSES": CLASSES, "PALETTE": PALETTE, "config": cfg.pretty_text}
    state = init_module(build_segmentor(copy.deepcopy(model))).state_dict()
    torch.save({"meta": meta, "state_dict": state, **content}, file)
    return file
