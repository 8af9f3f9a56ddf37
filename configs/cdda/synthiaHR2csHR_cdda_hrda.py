"""CDDA on HRDA, SYNTHIA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = ["../hrda/synthiaHR2csHR_hrda.py"]

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
checkpoint_config = dict(_delete_=True, by_epoch=False, interval={{_base_.runner.max_iters}})
evaluation = dict(interval=1000)

name = "synthiaHR2csHR_cdda_hrda_s1"
