"""DAFormer's network on the labeled images of SYNTHIA alone: what adaptation has to beat."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthia_to_cityscapes_512x512.py",
    "../_base_/uda/dacs_srconly.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

seed = 0
checkpoint_config = dict(max_keep_ckpts=1)
evaluation = dict(interval=4000)

name = "synthia2cs_source_only_daformer_s0"
exp = "basic"
name_dataset = "synthia2cityscapes"
name_architecture = "daformer_sepaspp_mitb5"
name_encoder = "mitb5"
name_decoder = "daformer_sepaspp"
name_uda = "dacs_srconly"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
