"""Entropy minimization, GTA to Cityscapes, with DeepLabV2 on ResNet-101."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/deeplabv2red_r101-d8.py",
    "../_base_/datasets/uda_gta_to_cityscapes_512x512.py",
    "../_base_/uda/minent.py",
    "../_base_/schedules/sgd_poly10warm_40k.py",
]

seed = 0

name = "gta2cs_minent_dlv2red_r101_s0"
exp = "basic"
name_dataset = "gta2cityscapes"
name_architecture = "dlv2red_r101v1c"
name_encoder = "r101v1c"
name_decoder = "dlv2red"
name_uda = "minent"
name_opt = "sgd_0.0025_pmFalse_poly10warm_1x2_40k"
