"""CDDA on MIC on the demo scenes: predict masked target images, too."""

_base_ = ["cdda_hrda.py"]

uda = dict(
    mask_mode="separatetrgaug",
    mask_lambda=1,
    mask_generator=dict(type="block", mask_ratio=0.7, mask_block_size=16),
)

name = "demo_cdda_mic"
name_uda = "cdda_a99_rcs0.01_cpl2_m16-0.7-spta"
