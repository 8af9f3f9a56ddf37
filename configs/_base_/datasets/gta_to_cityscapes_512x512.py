"""GTA with labels alone, evaluated on Cityscapes: trained on the source only."""

from mmseg.config import training_steps

_base_ = ["cityscapes_512x512.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
train_pipeline = training_steps(
    (1280, 720), crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
data = dict(
    train=dict(
        type="GTADataset",
        data_root="data/gta/",
        img_dir="images",
        ann_dir="labels",
        pipeline=train_pipeline,
    )
)
