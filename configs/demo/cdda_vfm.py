"""CDDA on VFM-UDA++ on the demo scenes and a tiny ViT. Create its crops with run_seg.py first.

python run_seg.py --config configs/demo/cdda_vfm --num 500
"""

_base_ = ["vfmudapp.py"]

_preprocessed = "preprocessed/demo_gta_vfm"
uda = dict(
    dataset="gta",
    matrix_path=f"{_preprocessed}/gta_500_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.21,
    relabel_threshold=0.20,
    threshold_decay=0.0025,
)

name = "demo_cdda_vfm"
name_uda = "cdda_vfm_a99_rcs0.05-2.0_cpl2_m64-0.7-spta"
