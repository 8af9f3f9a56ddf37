"""CDDA on MIC, Cityscapes to ACDC. Create its crops and bank with run_seg.py first."""

_base_ = ["../mic/csHR2acdcHR_mic_hrda.py"]

_preprocessed = "preprocessed/cityscapes_mic"
uda = dict(
    dataset="cityscapes",
    matrix_path=f"{_preprocessed}/cityscapes_2975_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    # Not tuned: those of GTA to Cityscapes.
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.003,
)
checkpoint_config = dict(_delete_=True, by_epoch=False, interval={{_base_.runner.max_iters}})
evaluation = dict(interval=1000)

name = "csHR2acdcHR_cdda_mic_s0"
