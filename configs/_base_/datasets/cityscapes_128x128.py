"""Cityscapes at half size with labels, for supervised training; crops of 128x128."""

from mmseg.config import training_steps

_base_ = ["cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = (128, 128)
train_pipeline = training_steps(
    (1024, 512), crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
data = dict(train=dict(pipeline=train_pipeline))
