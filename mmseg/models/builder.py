"""Build networks and training methods from configs."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmseg.config.registry import SEGMENTORS, UDA
from mmseg.datasets import short_name

# Importing a package registers what it defines.
from mmseg.models import backbones, decode_heads, losses, segmentors, uda  # noqa: F401
from mmseg.models.legacy import with_present_names

Cfg = Mapping[str, Any]


def build_segmentor(
    cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None
) -> nn.Module:
    """Build the bare network of a `model` section; call `init_weights()` on it afterwards.

    The section may use the family's old names (see `legacy`) and is not changed. Its own
    `train_cfg` and `test_cfg` take precedence over the arguments.
    """
    return SEGMENTORS.build(with_present_names(cfg), train_cfg=train_cfg, test_cfg=test_cfg)


def build_train_model(
    cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None
) -> nn.Module:
    """Build the training method of a whole config: its `uda` section, else plain supervision.

    `train_cfg` and `test_cfg` are used where `cfg['model']` has none.
    """
    model = with_present_names(cfg["model"])
    for key, value in (("train_cfg", train_cfg), ("test_cfg", test_cfg)):
        if value is not None and model.get(key) is None:
            model[key] = value
    method: dict[str, Any] = cfg["uda"].copy() if cfg.get("uda") else {"type": "Supervised"}
    method["model"] = model
    if method.get("matrix_path") and method.get("dataset") is None:
        source = (cfg.get("data") or {}).get("train", {}).get("source") or {}
        kind = source.get("type")
        method["dataset"] = short_name(kind) if isinstance(kind, str) else None
    method["max_iters"] = (cfg.get("runner") or {}).get("max_iters")
    return UDA.build(method)
