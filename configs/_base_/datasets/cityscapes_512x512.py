"""Cityscapes at half size with labels, for supervised training; crops of 512x512."""

from mmseg.config import inference_steps, training_steps

dataset_type = "CityscapesDataset"
data_root = "data/cityscapes/"
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 512)
_img_scale = (1024, 512)
train_pipeline = training_steps(
    _img_scale, crop_size, img_norm_cfg, distorts_colors=True, cat_max_ratio=0.75
)
test_pipeline = inference_steps(_img_scale, img_norm_cfg)
_evaluation_set = dict(
    type=dataset_type,
    data_root=data_root,
    img_dir="leftImg8bit/val",
    ann_dir="gtFine/val",
    pipeline=test_pipeline,
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=4,
    train=dict(
        type=dataset_type,
        data_root=data_root,
        img_dir="leftImg8bit/train",
        ann_dir="gtFine/train",
        pipeline=train_pipeline,
    ),
    val=_evaluation_set,
    test=_evaluation_set,
)
