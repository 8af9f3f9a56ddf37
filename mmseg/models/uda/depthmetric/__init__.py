"""CDDA itself: what depth tells about a target image, and what follows from it."""

from mmseg.models.uda.depthmetric.bank import load_bank
from mmseg.models.uda.depthmetric.cdda import CDDA
from mmseg.models.uda.depthmetric.guidance import soft_cross_entropy
from mmseg.models.uda.depthmetric.histogram import depth_histogram
from mmseg.models.uda.depthmetric.metric import DepthMatch, DepthMetric

__all__ = [
    "CDDA",
    "DepthMatch",
    "DepthMetric",
    "depth_histogram",
    "load_bank",
    "soft_cross_entropy",
]
