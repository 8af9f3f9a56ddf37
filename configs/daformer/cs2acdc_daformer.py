"""DAFormer, Cityscapes to ACDC: rare class sampling, feature distance."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_cityscapes_to_acdc_512x512.py",
    "../_base_/uda/dacs_a999_fdthings.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

seed = 0
data = dict(
    train=dict(rare_class_sampling=dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=0.5))
)
checkpoint_config = dict(max_keep_ckpts=1)
evaluation = dict(interval=4000)

name = "cs2acdc_daformer_s0"
exp = "basic"
name_dataset = "cityscapes2acdc"
name_architecture = "daformer_sepaspp_mitb5"
name_encoder = "mitb5"
name_decoder = "daformer_sepaspp"
name_uda = "dacs_a999_fd_things_rcs0.01"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
