"""Cityscapes as target domain of VFM-UDA, in crops of 1024x1024, with what it says of the source.

Sizes are drawn around 2048x1024; bottom and borders of an image are not trusted, in shares of its
sides. Rare classes are sampled at a higher temperature than by HRDA, and 20 crops are tested.
"""

from mmseg.config import short_side_steps

_base_ = ["target_cityscapesHR_1024x1024.py"]

_short_side = 1024
img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
cityscapes_train_pipeline = short_side_steps(_short_side, crop_size, img_norm_cfg, labeled=False)
data = dict(
    samples_per_gpu=2,
    train=dict(
        target=dict(
            pipeline=cityscapes_train_pipeline,
            crop_pseudo_margins=[0.03, 0.25, 0.03, 0.03],  # top, bottom, left, right
        ),
        rare_class_sampling=dict(
            min_pixels=3000, class_temp=0.05, min_crop_ratio=2.0, cat_max_ratio=0.75, tries=20
        ),
    ),
    val=dict(test_short_side=_short_side),
    test=dict(test_short_side=_short_side),
)
