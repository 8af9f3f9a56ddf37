"""CDDA on MIC, GTA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = ["../mic/gtaHR2csHR_mic_hrda.py"]

data = dict(workers_per_gpu=4)
_preprocessed = "preprocessed/gta_mic"
uda = dict(
    dataset="gta",
    matrix_path=f"{_preprocessed}/gta_24966_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.003,
)
checkpoint_config = dict(_delete_=True, by_epoch=False, interval={{_base_.runner.max_iters}})
evaluation = dict(interval=1000)

name = "gtaHR2csHR_cdda_mic_s2"
