"""CDDA on MIC, SYNTHIA to Cityscapes. Create its crops and bank with run_seg.py first."""

_base_ = ["synthiaHR2csHR_cdda_hrda.py"]

seed = 2
_preprocessed = "preprocessed/synthia_mic"
uda = dict(
    mask_mode="separatetrgaug",
    mask_lambda=1,
    mask_generator=dict(type="block", mask_ratio=0.7, mask_block_size=64),
    matrix_path=f"{_preprocessed}/synthia_9400_distribution.pth",
    croped_images_path=f"{_preprocessed}/images",
    croped_labels_path=f"{_preprocessed}/labels",
)

name = "synthiaHR2csHR_cdda_mic_s2"
name_uda = "dacs_a999_fdthings_rcs0.01-2.0_cpl2_m64-0.7-spta"
