"""MIC on HRDA, Cityscapes to ACDC: predict masked images of both."""

_base_ = ["../hrda/csHR2acdcHR_hrda.py"]

uda = dict(
    mask_mode="separate",
    mask_lambda=1,
    mask_generator=dict(type="block", mask_ratio=0.7, mask_block_size=64),
)

name = "csHR2acdcHR_mic_hrda_s0"
name_uda = "dacs_a999_fdthings_rcs0.01-2.0_m64-0.7-sep"
