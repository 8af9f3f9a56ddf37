"""GTA at 2560x1440 to Cityscapes at 2048x1024, crops of 1024x1024."""

from mmseg.config import training_steps

_base_ = ["target_cityscapesHR_1024x1024.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
gta_train_pipeline = training_steps((2560, 1440), crop_size, img_norm_cfg, cat_max_ratio=0.75)
data = dict(
    train=dict(
        source=dict(
            type="GTADataset",
            data_root="data/gta/",
            img_dir="images",
            ann_dir="labels",
            dep_dir="data/gta/depth_any",
            pipeline=gta_train_pipeline,
        )
    )
)
