"""SYNTHIA around 1725x1024 to Cityscapes around 2048x1024, crops of 1024x1024, as in VFM-UDA."""

from mmseg.config import short_side_steps

_base_ = ["target_cityscapesVFM_1024x1024.py"]

img_norm_cfg = {{_base_.img_norm_cfg}}
crop_size = {{_base_.crop_size}}
synthia_train_pipeline = short_side_steps(1024, crop_size, img_norm_cfg)
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
