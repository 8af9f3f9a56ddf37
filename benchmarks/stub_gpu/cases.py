"""What can be measured: configs, and what is switched on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]
RECOMPUTING = "with_cp"  # keys of backbones
# Configs of the papers' tables without numbers of their own in `configs/published.json`.
NOT_IN_TABLES = ("cdda/gtaHR2csHR_cdda_vfm_b", "cdda/gtaHR2csHR_cdda_vfm_l")


@dataclass(frozen=True)
class Case:
    """A training step, or a picture that the student labels.

    `config` is relative to `configs/`, or any path. `amp` is 'bf16', 'fp16', or None. `options` are
    those of `--cfg-options`. `batch` and `crops` replace the config's batch size and the published
    number of source crops. `sites` is how many lines of code are listed by their launches.
    """

    config: str
    amp: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None
    crops: int | None = None
    is_picture: bool = False
    sites: int = 0

    @property
    def name(self) -> str:
        """What is measured of the config: 'step fp32', 'picture bf16', …."""
        return f"{'picture' if self.is_picture else 'step'} {self.amp or 'fp32'}"


def read(config: str) -> Config:
    """Load a config that is named as in `Case`."""
    own = ROOT / "configs" / f"{config.removesuffix('.py')}.py"
    return load_config(own if own.is_file() else config)


def recomputing(config: str) -> dict[str, bool]:
    """Return the options that recompute a backbone's activations in the backward pass."""
    backbone = read(config).model.backbone
    places = ["model.backbone", *(["model.backbone.vit"] if "vit" in backbone else [])]
    return {f"{place}.{RECOMPUTING}": True for place in places}


def published() -> list[str]:
    """Return the configs with published numbers, and CDDA's on foundation backbones."""
    names = json.loads((ROOT / "configs/published.json").read_text(encoding="utf-8"))
    return [name.removeprefix("configs/") for name in names] + list(NOT_IN_TABLES)
