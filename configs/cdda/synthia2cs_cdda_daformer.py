"""CDDA on DAFormer, SYNTHIA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthia_to_cityscapes_512x512.py",
    "../_base_/uda/dacs_a999_fdthings.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

seed = 0
data = dict(
    train=dict(rare_class_sampling=dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=0.5))
)
_preprocessed = "preprocessed/synthia_daformer"
uda = dict(
    pseudo_weight_ignore_top=15,
    pseudo_weight_ignore_bottom=120,
    dataset="synthia",
    matrix_path=f"{_preprocessed}/synthia_9400_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.49,
    relabel_threshold=0.47,
    threshold_decay=0.001,
)

name = "synthia2cs_cdda_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0"
exp = "basic"
name_dataset = "synthia2cityscapes"
name_architecture = "daformer_sepaspp_mitb5"
name_encoder = "mitb5"
name_decoder = "daformer_sepaspp"
name_uda = "dacs_a999_fd_things_rcs0.01_cpl"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
