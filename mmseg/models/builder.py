"""Build networks and training methods from configs."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmseg.config.registry import BACKBONES, HEADS, LOSSES, NECKS, SEGMENTORS, UDA
from mmseg.datasets import short_name

# Importing a package registers what it defines.
from mmseg.models import backbones, decode_heads, losses, segmentors, uda  # noqa: F401
from mmseg.models.legacy import with_present_names

__all__ = [
    "BACKBONES",
    "HEADS",
    "LOSSES",
    "NECKS",
    "SEGMENTORS",
    "UDA",
    "build_segmentor",
    "build_train_model",
]
Cfg = Mapping[str, Any]


def build_segmentor(
    cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None
) -> nn.Module:
    """Build the bare network of a `model` section; call `init_weights()` on it afterwards.

    Args:
        cfg: the section; its own `train_cfg` and `test_cfg` win over the arguments. It may use
            the family's old names (`legacy`), and is not changed.
        train_cfg: used where the section has none.
        test_cfg: likewise.
    """
    return SEGMENTORS.build(with_present_names(cfg), train_cfg=train_cfg, test_cfg=test_cfg)


def build_train_model(
    cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None
) -> nn.Module:
    """Build the training method of a whole config: its `uda` section, else plain supervision.

    Args:
        cfg: with `model`, `runner` and optionally `uda`.
        train_cfg: used where `cfg['model']` has none.
        test_cfg: likewise.
    """
    model = with_present_names(cfg["model"])
    for key, value in (("train_cfg", train_cfg), ("test_cfg", test_cfg)):
        if value is not None and model.get(key) is None:
            model[key] = value
    method: dict[str, Any] = cfg["uda"].copy() if cfg.get("uda") else {"type": "Supervised"}
    method["model"] = model
    if method.get("matrix_path") and "dataset" not in method:
        method["dataset"] = _source_name(cfg)
    method["max_iters"] = (cfg.get("runner") or {}).get("max_iters")
    return UDA.build(method)


def _source_name(cfg: Cfg) -> str | None:
    """Return the short name of the dataset that `data.train` has as its source."""
    source = (cfg.get("data") or {}).get("train", {}).get("source") or {}
    kind = source.get("type")
    return short_name(kind) if isinstance(kind, str) else None
