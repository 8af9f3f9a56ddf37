"""Cityscapes at half size as target domain, validation and test set."""

from mmseg.config import inference_steps, training_steps

dataset_type = "CityscapesDataset"
data_root = "data/cityscapes/"
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 512)
_img_scale = (1024, 512)
cityscapes_train_pipeline = training_steps(_img_scale, crop_size, img_norm_cfg)
test_pipeline = inference_steps(_img_scale, img_norm_cfg)
_evaluation_set = dict(
    type=dataset_type,
    data_root=data_root,
    img_dir="leftImg8bit/val",
    ann_dir="gtFine/val",
    dep_dir="data/cityscapes/depth_any/val",
    pipeline=test_pipeline,
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=4,
    train=dict(
        type="UDADataset",
        target=dict(
            type=dataset_type,
            data_root=data_root,
            img_dir="leftImg8bit/train",
            ann_dir="gtFine/train",
            dep_dir="data/cityscapes/depth_any/train",
            pipeline=cityscapes_train_pipeline,
        ),
    ),
    val=_evaluation_set,
    test=_evaluation_set,
)
