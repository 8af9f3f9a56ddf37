"""SYNTHIA at 2560x1520 to Cityscapes at 2048x1024, crops of 1024x1024."""

_base_ = ["target_cityscapesHR_1024x1024.py"]

img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (1024, 1024)
synthia_train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", img_scale=(2560, 1520)),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Normalize", **img_norm_cfg),
    dict(type="Pad", size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type="DefaultFormatBundle"),
    dict(type="Collect", keys=["img", "gt_semantic_seg"]),
]
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
