"""CDDA itself: match target images with source crops by depth, and use the match.

Where to look: the similarity formula is in `similarity.py`, the decay of the thresholds in
`thresholds.py`, what happens when a class is missing in `guidance.py`, and what the released code
does differently (the first-row bug, …) in `as_released.py`.
"""

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
