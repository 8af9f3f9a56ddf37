"""Cityscapes to ACDC, both at half size, crops of 512x512."""

from mmseg.config import inference_steps, training_steps

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 512)
_target_scale = (960, 540)
cityscapes_train_pipeline = training_steps((1024, 512), crop_size, img_norm_cfg, cat_max_ratio=0.75)
acdc_train_pipeline = training_steps(_target_scale, crop_size, img_norm_cfg, labeled=False)
test_pipeline = inference_steps(_target_scale, img_norm_cfg)
_evaluation_set = dict(
    type="ACDCDataset",
    data_root="data/acdc/",
    img_dir="rgb_anon/val",
    ann_dir="gt/val",
    pipeline=test_pipeline,
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=4,
    train=dict(
        type="UDADataset",
        source=dict(
            type="CityscapesDataset",
            data_root="data/cityscapes/",
            img_dir="leftImg8bit/train",
            ann_dir="gtFine/train",
            dep_dir="data/cityscapes/depth_any/train",
            pipeline=cityscapes_train_pipeline,
        ),
        target=dict(
            type="ACDCDataset",
            data_root="data/acdc/",
            img_dir="rgb_anon/train",
            ann_dir="gt/train",
            dep_dir="data/acdc/depth_any/train",
            pipeline=acdc_train_pipeline,
        ),
    ),
    val=_evaluation_set,
    test=_evaluation_set,
)
