"""Cityscapes at full size with labels, for supervised training; crops of 512x512."""

from mmseg.config import training_steps

_base_ = ["cityscapesHR_1024x1024.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = (512, 512)
train_pipeline = training_steps(
    (2048, 1024), crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
data = dict(train=dict(pipeline=train_pipeline))
