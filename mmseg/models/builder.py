"""Build networks, their parts, and training methods from configs.

The registries are here, too, because modules written for mmsegmentation import them from here.
"""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmseg.config.registry import BACKBONES, HEADS, LOSSES, NECKS, SEGMENTORS, UDA
from mmseg.config.sections import each
from mmseg.datasets import short_name

# Importing a package registers what it defines.
from mmseg.models import backbones, decode_heads, losses, segmentors, uda  # noqa: F401
from mmseg.models.legacy import with_present_names

__all__ = ["BACKBONES", "HEADS", "LOSSES", "NECKS", "SEGMENTORS", "UDA"]
__all__ += ["build_backbone", "build_head", "build_loss", "build_method", "build_neck"]
__all__ += ["build_segmentor", "build_train_model", "reads_depth", "statistics_dataset"]

Cfg = Mapping[str, Any]


def build_backbone(cfg: Cfg) -> nn.Module:
    """Build the backbone that a section describes."""
    return BACKBONES.build(cfg)


def build_neck(cfg: Cfg) -> nn.Module:
    """Build the neck that a section describes."""
    return NECKS.build(cfg)


def build_head(cfg: Cfg) -> nn.Module:
    """Build the decode head that a section describes, which may use the family's old names."""
    return HEADS.build(with_present_names(cfg))


def build_loss(cfg: Cfg) -> nn.Module:
    """Build the loss that a section describes."""
    return LOSSES.build(cfg)


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
    source = next(iter(each(((cfg.get("data") or {}).get("train") or {}).get("source"))), None)
    return build_method(model, cfg.get("uda"), source, (cfg.get("runner") or {}).get("max_iters"))


def build_method(
    model: Cfg, method: Cfg | None, source: Cfg | None = None, max_iters: int | None = None
) -> nn.Module:
    """Build a training method, described by a `uda` section, around a `model` section.

    `source`, the section of the labeled dataset, names the dataset of CDDA's statistics where
    `uda.dataset` does not; `max_iters` is the length of the run, for methods that need it.
    """
    section: Any = copy.copy(method) if method else {"type": "Supervised"}
    if section.get("matrix_path"):
        section["dataset"] = statistics_dataset(section, source)
    parts = {"model": with_present_names(model), "max_iters": max_iters}
    make, arguments = UDA.prepare(section, **parts)
    return make(**arguments)


def reads_depth(method: Cfg | None) -> bool:
    """Tell whether a `uda` section, or plain supervision, uses depth maps; a user's own does."""
    section = method or {"type": "Supervised"}
    decide = getattr(UDA.class_of(section), "reads_depth", None)
    return decide is None or decide(section)


def statistics_dataset(method: Cfg, source: Cfg | None) -> str | None:
    """Return the short name of the dataset of CDDA's statistics: what `uda` says, or its source."""
    name, kind = method.get("dataset"), (source or {}).get("type")
    return short_name(kind) if name is None and isinstance(kind, str) else name
