"""The drawn demo scenes: GTA format to Cityscapes format at a quarter of the usual size."""

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (128, 128)
gta_train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", img_scale=(320, 180)),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Normalize", **img_norm_cfg),
    dict(type="Pad", size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type="DefaultFormatBundle"),
    dict(type="Collect", keys=["img", "gt_semantic_seg"]),
]
cityscapes_train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", img_scale=(320, 160)),
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
        img_scale=(320, 160),
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
