"""Train on the labelled target scenes: the upper bound."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb0_demo.py",
    "../_base_/datasets/uda_gta_to_cityscapes_demo.py",
    "../_base_/schedules/adamw_poly10warm_demo.py",
]

# All as in daformer.py, except for what is trained on: labels in place of a `uda` section.
seed = 0
load_from = "pretrained/demo_mit_b0_source.pth"
log_config = dict(interval=10, img_interval=100)
data = dict(
    train=dict(
        _delete_=True,
        type="CityscapesDataset",
        data_root="data/demo/cityscapes/",
        img_dir="leftImg8bit/train",
        ann_dir="gtFine/train",
        pipeline={{_base_.cityscapes_train_pipeline}},
    )
)

name = "demo_oracle"
exp = "demo"
name_dataset = "demo_cityscapes_128x128"
name_architecture = "daformer_sepaspp_mitb0"
name_encoder = "mitb0"
name_decoder = "daformer_sepaspp"
name_uda = "none"
name_opt = "adamw_3e-04_pmTrue_poly10warm_1x2_500"
