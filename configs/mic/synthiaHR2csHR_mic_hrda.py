"""MIC on HRDA, SYNTHIA to Cityscapes: predict masked target images."""

_base_ = ["../hrda/synthiaHR2csHR_hrda.py"]

seed = 2
uda = dict(
    mask_mode="separatetrgaug",
    mask_lambda=1,
    mask_generator=dict(type="block", mask_ratio=0.7, mask_block_size=64),
)

name = "synthiaHR2csHR_mic_hrda_s2"
name_uda = "dacs_a999_fdthings_rcs0.01-2.0_cpl2_m64-0.7-spta"
