"""As uda_gta_to_cityscapes_512x512.py, with distorted colors of the source."""

from mmseg.config import training_steps

_base_ = ["uda_gta_to_cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
gta_train_pipeline = training_steps(
    (1280, 720), crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
data = dict(train=dict(source=dict(pipeline=gta_train_pipeline)))
