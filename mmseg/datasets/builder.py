"""The names under which datasets and steps written for mmsegmentation find the registries."""

from mmseg.config.registry import DATASETS, PIPELINES
from mmseg.datasets.custom import build_dataset

__all__ = ["DATASETS", "PIPELINES", "build_dataset"]
