"""GTA at 1280x720 to Cityscapes at 1024x512, crops of 512x512."""

from mmseg.config import training_steps

_base_ = ["target_cityscapes_512x512.py"]

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 512)
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
