"""SYNTHIA at 2560x1520 to Cityscapes at 2048x1024, crops of 1024x1024."""

from mmseg.config import training_steps

_base_ = ["target_cityscapesHR_1024x1024.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
synthia_train_pipeline = training_steps((2560, 1520), crop_size, img_norm_cfg, cat_max_ratio=0.75)
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
