"""VFM-UDA++ on DINOv2's ViT-S, SYNTHIA to Cityscapes, on 4 GPUs."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/vfm_adapter_pyramid_dinov2_s.py",
    "../_base_/datasets/uda_synthiaVFM_to_cityscapesHR_1024x1024.py",
    "../_base_/uda/vfmudapp.py",
    "../_base_/schedules/adamw_layerdecay_40k.py",
]

seed = 42

name = "synthiaHR2csHR_vfmudapp_s_s42"
exp = "basic"
name_dataset = "synthiaVFM2cityscapesHR_1024x1024"
name_architecture = "adapter_pyramid_dinov2_s"
name_encoder = "dinov2_s"
name_decoder = "pyramid"
name_uda = "vfmudapp_a999_rcs0.05-2.0_cpl2_m64-0.7-spta"
name_opt = "adamw_5e-05_ld0.9_root_warmup-linear_4x2_40k"
