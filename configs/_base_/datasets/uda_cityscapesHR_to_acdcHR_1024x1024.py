"""Cityscapes to ACDC, both at full size, crops of 1024x1024."""

from mmseg.config import inference_steps, training_steps

_base_ = ["uda_cityscapes_to_acdc_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = (1024, 1024)
_target_scale = (1920, 1080)
cityscapes_train_pipeline = training_steps(
    (2048, 1024), crop_size, img_norm_cfg, cat_max_ratio=0.75
)
acdc_train_pipeline = training_steps(_target_scale, crop_size, img_norm_cfg, labeled=False)
test_pipeline = inference_steps(_target_scale, img_norm_cfg)
data = dict(
    train=dict(
        source=dict(pipeline=cityscapes_train_pipeline),
        target=dict(pipeline=acdc_train_pipeline),
    ),
    val=dict(pipeline=test_pipeline),
    test=dict(pipeline=test_pipeline),
)
