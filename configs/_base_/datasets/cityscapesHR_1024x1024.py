"""Cityscapes at full size with labels, for supervised training; crops of 1024x1024."""

from mmseg.config import inference_steps, training_steps

_base_ = ["cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = (1024, 1024)
_img_scale = (2048, 1024)
train_pipeline = training_steps(
    _img_scale, crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
test_pipeline = inference_steps(_img_scale, img_norm_cfg)
data = dict(
    train=dict(pipeline=train_pipeline),
    val=dict(pipeline=test_pipeline),
    test=dict(pipeline=test_pipeline),
)
