"""VFM-UDA on DINOv2's ViT-B, GTA to Cityscapes, on 4 GPUs."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/vfm_light_dinov2_b.py",
    "../_base_/datasets/uda_gtaVFM_to_cityscapesHR_1024x1024.py",
    "../_base_/uda/vfmuda.py",
    "../_base_/schedules/adamw_layerdecay_40k.py",
]

seed = 42
optimizer = dict(paramwise_cfg=dict(layer_decay=1.0))

name = "gtaHR2csHR_vfmuda_b_s42"
exp = "basic"
name_dataset = "gtaVFM2cityscapesHR_1024x1024"
name_architecture = "light_dinov2_b"
name_encoder = "dinov2_b"
name_decoder = "light"
name_uda = "vfmuda_a999_rcs0.05-2.0_cpl2_tokens-0.7-spta"
name_opt = "adamw_5e-05_root_warmup-linear_4x2_40k"
