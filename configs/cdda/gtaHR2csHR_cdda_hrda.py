"""CDDA on HRDA, GTA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = ["../hrda/gtaHR2csHR_hrda.py"]

data = dict(workers_per_gpu=4)
uda = dict(
    dataset="gta",
    matrix_path="preprocessed/gta_hrda/gta_24966_distribution.pth",
    croped_images_path="preprocessed/gta_hrda/images",
    croped_labels_path="preprocessed/gta_hrda/labels",
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.003,
)
checkpoint_config = dict(_delete_=True, by_epoch=False, interval=40000)
evaluation = dict(interval=1000)

name = "gtaHR2csHR_cdda_hrda_s1"
