"""A data set from its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.registry import DATASETS


def build_dataset(cfg: Mapping[str, Any], test_mode: bool = False) -> Any:
    """Build the data set that `cfg` (`data.train`, `data.val`, `data.test`) describes."""
    return DATASETS.build(cfg, test_mode=test_mode or None)
