"""CDDA on DAFormer, Cityscapes to ACDC. Create its crops and bank with run_seg.py first."""

_base_ = ["../daformer/cs2acdc_daformer.py"]

_preprocessed = "preprocessed/cityscapes_daformer"
uda = dict(
    dataset="cityscapes",
    matrix_path=f"{_preprocessed}/cityscapes_2975_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    # Not tuned: those of GTA to Cityscapes.
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.0025,
)
checkpoint_config = dict(_delete_=True, by_epoch=False, interval={{_base_.runner.max_iters}})
evaluation = dict(interval=1000)

name = "cs2acdc_cdda_daformer_s0"
