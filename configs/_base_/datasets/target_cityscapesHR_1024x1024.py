"""Cityscapes at full size as target domain, validation and test set."""

from mmseg.config import inference_steps, training_steps

_base_ = ["target_cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = (1024, 1024)
_img_scale = (2048, 1024)
cityscapes_train_pipeline = training_steps(_img_scale, crop_size, img_norm_cfg)
test_pipeline = inference_steps(_img_scale, img_norm_cfg)
data = dict(
    train=dict(target=dict(pipeline=cityscapes_train_pipeline)),
    val=dict(pipeline=test_pipeline),
    test=dict(pipeline=test_pipeline),
)
