"""DAFormer's network on the labeled images of Cityscapes: what adaptation could reach at most."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/cityscapes_512x512.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

seed = 0
checkpoint_config = dict(max_keep_ckpts=1)
evaluation = dict(interval=4000)

name = "cs_oracle_daformer_s0"
exp = "basic"
name_dataset = "cityscapes"
name_architecture = "daformer_sepaspp_mitb5"
name_encoder = "mitb5"
name_decoder = "daformer_sepaspp"
name_uda = "target-only"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
