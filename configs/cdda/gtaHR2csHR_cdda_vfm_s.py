"""CDDA on VFM-UDA++ with DINOv2's ViT-S, GTA to Cityscapes, on 4 GPUs.

Create its crops and bank with run_seg.py first. The thresholds are those of CDDA on MIC; nobody has
tuned them for these networks yet.
"""

_base_ = ["../vfm/gtaHR2csHR_vfmudapp_s.py"]

_preprocessed = "preprocessed/gta_vfm"
uda = dict(
    dataset="gta",
    matrix_path=f"{_preprocessed}/gta_24966_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.003,
)

name = "gtaHR2csHR_cdda_vfm_s_s42"
