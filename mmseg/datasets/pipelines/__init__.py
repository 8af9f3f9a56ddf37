"""Steps of a pipeline: each is called with a sample's `results` dict and returns a new one.

Keys of `results`: `img` (H, W, 3) BGR; `gt_semantic_seg`, `valid_pseudo_mask` (H, W) uint8; `depth`
(H, W) float32 bins; `img_fields`, `seg_fields`: the keys to treat as images and as labels;
`filename`, `ori_shape`, `img_shape`, `pad_shape`, `scale_factor`, `flip`, …: what happened so far;
`rng`: numpy Generator, the only source of randomness. A step never changes its input.
"""

from mmseg.datasets.pipelines.compose import Compose
from mmseg.datasets.pipelines.formatting import Collect, DefaultFormatBundle, ImageToTensor
from mmseg.datasets.pipelines.geometry import Pad, RandomCrop, RandomFlip, Resize
from mmseg.datasets.pipelines.photometric import Normalize, PhotoMetricDistortion
from mmseg.datasets.pipelines.reading import LoadAnnotations, LoadImageFromFile, start_results
from mmseg.datasets.pipelines.test_time import MultiScaleFlipAug

__all__ = [
    "Collect", "Compose", "DefaultFormatBundle", "ImageToTensor", "LoadAnnotations",
    "LoadImageFromFile", "MultiScaleFlipAug", "Normalize", "Pad", "PhotoMetricDistortion",
    "RandomCrop", "RandomFlip", "Resize", "start_results",
]  # fmt: skip
