"""CDDA on the demo scenes. Create its 500 crops and their bank with run_seg.py --num 500 first."""

_base_ = ["daformer.py"]

_preprocessed = "preprocessed/demo_gta"
uda = dict(
    dataset="gta",
    matrix_path=f"{_preprocessed}/gta_500_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.21,  # half of the demo images reach it
    relabel_threshold=0.20,
    threshold_decay=0.0025,
)

name = "demo_cdda_daformer"
name_uda = "cdda_a99_rcs0.01_cpl"
