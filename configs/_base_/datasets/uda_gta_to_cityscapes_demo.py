"""The drawn demo scenes: GTA format to Cityscapes format at a quarter of the usual size."""

from mmseg.config import inference_steps, training_steps

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (128, 128)
_img_scale = (320, 160)
gta_train_pipeline = training_steps((320, 180), crop_size, img_norm_cfg, cat_max_ratio=0.75)
cityscapes_train_pipeline = training_steps(_img_scale, crop_size, img_norm_cfg)
test_pipeline = inference_steps(_img_scale, img_norm_cfg)
_evaluation_set = dict(
    type="CityscapesDataset",
    data_root="data/demo/cityscapes/",
    img_dir="leftImg8bit/val",
    ann_dir="gtFine/val",
    dep_dir="data/demo/cityscapes/depth_any/val",
    pipeline=test_pipeline,
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=1,
    train=dict(
        type="UDADataset",
        source=dict(
            type="GTADataset",
            data_root="data/demo/gta/",
            img_dir="images",
            ann_dir="labels",
            dep_dir="data/demo/gta/depth_any",
            pipeline=gta_train_pipeline,
        ),
        target=dict(
            type="CityscapesDataset",
            data_root="data/demo/cityscapes/",
            img_dir="leftImg8bit/train",
            ann_dir="gtFine/train",
            dep_dir="data/demo/cityscapes/depth_any/train",
            pipeline=cityscapes_train_pipeline,
        ),
        # 3000 pixels of a full-size label are about this share of a demo label.
        rare_class_sampling=dict(min_pixels=100, class_temp=0.01, min_crop_ratio=0.5),
    ),
    val=_evaluation_set,
    test=_evaluation_set,
)
