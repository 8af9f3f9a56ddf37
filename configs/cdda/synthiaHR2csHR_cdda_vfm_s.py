"""CDDA on VFM-UDA++ with DINOv2's ViT-S, SYNTHIA to Cityscapes, on 4 GPUs.

Create its crops and bank with run_seg.py first. The thresholds are those of CDDA on MIC; nobody has
tuned them for these networks yet.
"""

_base_ = ["../vfm/synthiaHR2csHR_vfmudapp_s.py"]

_preprocessed = "preprocessed/synthia_vfm"
uda = dict(
    dataset="synthia",
    matrix_path=f"{_preprocessed}/synthia_9400_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.49,
    relabel_threshold=0.47,
    threshold_decay=0.002,
)

name = "synthiaHR2csHR_cdda_vfm_s_s42"
