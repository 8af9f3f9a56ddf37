"""GTA around 2620x1440 to Cityscapes around 2048x1024, crops of 1024x1024, as in VFM-UDA."""

from mmseg.config import short_side_steps

_base_ = ["target_cityscapesVFM_1024x1024.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
gta_train_pipeline = short_side_steps(1440, crop_size, img_norm_cfg)
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
