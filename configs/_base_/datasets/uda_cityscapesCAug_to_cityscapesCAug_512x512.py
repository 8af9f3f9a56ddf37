"""Cityscapes as source and as target at half size, with distorted colors."""

from mmseg.config import training_steps

_base_ = ["target_cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
train_pipeline = training_steps(
    (1024, 512), crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
_labeled = dict(
    type="CityscapesDataset",
    data_root="data/cityscapes/",
    img_dir="leftImg8bit/train",
    ann_dir="gtFine/train",
    dep_dir="data/cityscapes/depth_any/train",
    pipeline=train_pipeline,
)
data = dict(train=dict(source=_labeled, target=dict(pipeline=train_pipeline)))
