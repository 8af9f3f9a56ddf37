"""Self-training with class mixing, SYNTHIA to Cityscapes, with DeepLabV2 on ResNet-101."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/deeplabv2red_r101-d8.py",
    "../_base_/datasets/uda_synthia_to_cityscapes_512x512.py",
    "../_base_/uda/dacs.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

seed = 0
checkpoint_config = dict(max_keep_ckpts=1)
evaluation = dict(interval=4000)

name = "synthia2cs_dacs_dlv2red_r101_s0"
exp = "basic"
name_dataset = "synthia2cityscapes"
name_architecture = "dlv2red_r101v1c"
name_encoder = "r101v1c"
name_decoder = "dlv2red"
name_uda = "dacs"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
