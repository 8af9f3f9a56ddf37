"""Build networks and training methods from configs."""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmseg.registry import SEGMENTORS, UDA

# Importing a module registers what it defines.
from . import backbones, decode_heads, losses, segmentors  # noqa: F401

Cfg = Mapping[str, Any]


def build_segmentor(
    cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None
) -> nn.Module:
    """Build the bare network of a `model` section; call `init_weights()` on it afterwards.

    Args:
        cfg: the section; its own `train_cfg` and `test_cfg` win over the arguments.
        train_cfg: used where the section has none.
        test_cfg: likewise.
    """
    return SEGMENTORS.build(cfg, train_cfg=train_cfg, test_cfg=test_cfg)


def build_train_model(
    cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None
) -> nn.Module:
    """Build the training method of a whole config: its `uda` section, else plain supervision.

    Args:
        cfg: with `model`, `runner` and optionally `uda`.
        train_cfg: used where `cfg['model']` has none.
        test_cfg: likewise.
    """
    importlib.import_module("mmseg.models.uda")  # registers the methods; it imports this module
    model = dict(cfg["model"]) if not hasattr(cfg["model"], "copy") else cfg["model"].copy()
    for key, value in (("train_cfg", train_cfg), ("test_cfg", test_cfg)):
        if value is not None and model.get(key) is None:
            model[key] = value
    method = cfg["uda"].copy() if cfg.get("uda") else {"type": "Supervised"}
    method["model"] = model
    method["max_iters"] = cfg["runner"]["max_iters"]
    return UDA.build(method)
