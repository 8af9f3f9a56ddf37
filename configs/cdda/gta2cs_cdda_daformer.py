"""CDDA on DAFormer, GTA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = ["../daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py"]

_preprocessed = "preprocessed/gta_daformer"
uda = dict(
    dataset="gta",
    matrix_path=f"{_preprocessed}/gta_24966_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
    reweight_threshold=0.56,
    relabel_threshold=0.54,
    threshold_decay=0.0025,
)
checkpoint_config = dict(_delete_=True, by_epoch=False, interval={{_base_.runner.max_iters}})
evaluation = dict(interval=1000)

name = "gta2cs_cdda_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0"
