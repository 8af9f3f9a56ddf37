"""GTA at 1280x720 to Cityscapes at 1024x512, crops of 512x512."""

from mmseg.config import training_steps

_base_ = ["target_cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
gta_train_pipeline = training_steps((1280, 720), crop_size, img_norm_cfg, cat_max_ratio=0.75)
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
