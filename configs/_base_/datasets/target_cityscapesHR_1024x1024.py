"""Cityscapes at full size as target domain, validation and test set."""

from mmseg.config import inference_steps, training_steps

_base_ = ["target_cityscapes_512x512.py"]

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (1024, 1024)
cityscapes_train_pipeline = training_steps((2048, 1024), crop_size, img_norm_cfg)
test_pipeline = inference_steps((2048, 1024), img_norm_cfg)
data = dict(
    train=dict(target=dict(pipeline=cityscapes_train_pipeline)),
    val=dict(pipeline=test_pipeline),
    test=dict(pipeline=test_pipeline),
)
