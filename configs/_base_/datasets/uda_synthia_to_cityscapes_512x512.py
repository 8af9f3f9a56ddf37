"""SYNTHIA at 1280x760 to Cityscapes at 1024x512, crops of 512x512."""

from mmseg.config import training_steps

_base_ = ["target_cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
synthia_train_pipeline = training_steps((1280, 760), crop_size, img_norm_cfg, cat_max_ratio=0.75)
data = dict(
    train=dict(
        source=dict(
            type="SynthiaDataset",
            data_root="data/synthia/",
            img_dir="RGB",
            ann_dir="GT/LABELS",
            dep_dir="data/synthia/depth_any",
            pipeline=synthia_train_pipeline,
        )
    )
)
