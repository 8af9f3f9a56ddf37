"""CDDA on MIC, GTA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = ["../mic/gtaHR2csHR_mic_hrda.py"]

data = dict(workers_per_gpu=4)
uda = dict(
    dataset="gta",
    matrix_path="preprocessed/gta_mic/gta_24966_distribution.pth",
    croped_images_path="preprocessed/gta_mic/images",
    croped_labels_path="preprocessed/gta_mic/labels",
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.003,
)
checkpoint_config = dict(_delete_=True, by_epoch=False, interval=40000)
evaluation = dict(interval=1000)

name = "gtaHR2csHR_cdda_mic_s2"
