"""HRDA, Cityscapes to ACDC at full resolution."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda_daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_cityscapesHR_to_acdcHR_1024x1024.py",
    "../_base_/uda/dacs_a999_fdthings.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

gpu_model = "NVIDIATITANRTX"
seed = 0
data = dict(
    train=dict(rare_class_sampling=dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=2.0))
)
checkpoint_config = dict(max_keep_ckpts=1)
evaluation = dict(interval=4000)

name = "csHR2acdcHR_hrda_s0"
exp = "basic"
name_dataset = "cityscapesHR2acdcHR_1024x1024"
name_architecture = "hrda1-512-0.1_daformer_sepaspp_sl_mitb5"
name_encoder = "mitb5"
name_decoder = "hrda1-512-0.1_daformer_sepaspp_sl"
name_uda = "dacs_a999_fdthings_rcs0.01-2.0"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
