"""Cityscapes at full size as target domain, validation and test set."""

dataset_type = "CityscapesDataset"
data_root = "data/cityscapes/"
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (1024, 1024)
cityscapes_train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", img_scale=(2048, 1024)),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Normalize", **img_norm_cfg),
    dict(type="Pad", size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type="DefaultFormatBundle"),
    dict(type="Collect", keys=["img", "gt_semantic_seg"]),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="MultiScaleFlipAug",
        img_scale=(2048, 1024),
        flip=False,
        transforms=[
            dict(type="Resize", keep_ratio=True),
            dict(type="RandomFlip"),
            dict(type="Normalize", **img_norm_cfg),
            dict(type="ImageToTensor", keys=["img"]),
            dict(type="Collect", keys=["img"]),
        ],
    ),
]
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
