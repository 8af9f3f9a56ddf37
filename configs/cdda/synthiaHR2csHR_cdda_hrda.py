"""CDDA on HRDA, SYNTHIA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda_daformer_sepaspp_mitb5.py",
    "../_base_/datasets/uda_synthiaHR_to_cityscapesHR_1024x1024.py",
    "../_base_/uda/dacs_a999_fdthings.py",
    "../_base_/schedules/adamw_poly10warm_40k.py",
]

gpu_model = "NVIDIATITANRTX"
seed = 1
data = dict(
    train=dict(
        target=dict(crop_pseudo_margins=[30, 240, 30, 30]),
        rare_class_sampling=dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=2.0),
    )
)
_preprocessed = "preprocessed/synthia_hrda"
uda = dict(
    dataset="synthia",
    matrix_path=f"{_preprocessed}/synthia_9400_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.49,
    relabel_threshold=0.47,
    threshold_decay=0.002,
)

name = "synthiaHR2csHR_cdda_hrda_s1"
exp = "basic"
name_dataset = "synthiaHR2cityscapesHR_1024x1024"
name_architecture = "hrda1-512-0.1_daformer_sepaspp_sl_mitb5"
name_encoder = "mitb5"
name_decoder = "hrda1-512-0.1_daformer_sepaspp_sl"
name_uda = "dacs_a999_fdthings_rcs0.01-2.0_cpl2"
name_opt = "adamw_6e-05_pmTrue_poly10warm_1x2_40k"
