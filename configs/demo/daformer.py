"""Plain self-training on the demo scenes; its siblings state what they change."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb0_demo.py",
    "../_base_/datasets/uda_gta_to_cityscapes_demo.py",
    "../_base_/uda/dacs_a999_fdthings.py",
    "../_base_/schedules/adamw_poly10warm_demo.py",
]

seed = 0
# Where adaptation starts, see pretrained/README.md.
load_from = "pretrained/demo_mit_b0_source.pth"
log_config = dict(interval=10, img_interval=100)
uda = dict(
    alpha=0.99,  # a teacher that follows within the demo's few hundred iterations
    pseudo_threshold=0.9,
    imnet_feature_dist_lambda=0,  # there is no ImageNet file to measure against
    # Image border and own car's hood, which a crop of 128 of 160 rows shows at most this much of.
    pseudo_weight_ignore_top=4,
    pseudo_weight_ignore_bottom=12,
)

name = "demo_daformer"
exp = "demo"
name_dataset = "demo_gta2cityscapes_128x128"
name_architecture = "daformer_sepaspp_mitb0"
name_encoder = "mitb0"
name_decoder = "daformer_sepaspp"
name_uda = "dacs_a99_rcs0.01_cpl"
name_opt = "adamw_3e-04_pmTrue_poly10warm_1x2_500"
