"""CDDA on the demo scenes. Create its 500 crops and their bank with run_seg.py --num 500 first."""

_base_ = ["daformer.py"]

uda = dict(
    dataset="gta",
    matrix_path="preprocessed/demo_gta/gta_500_distribution.pth",
    croped_images_path="preprocessed/demo_gta/images",
    croped_labels_path="preprocessed/demo_gta/labels",
    reweight_threshold=0.23,  # half of the demo images reach it
    relabel_threshold=0.22,
    threshold_decay=0.0025,
)

name = "demo_cdda_daformer"
name_uda = "cdda_a99_rcs0.01_cpl"
