"""MIC on the demo's DAFormer: predict masked target images, too."""

_base_ = ["daformer.py"]

uda = dict(
    mask_mode="separatetrgaug",
    mask_lambda=1,
    mask_generator=dict(type="block", mask_ratio=0.7, mask_block_size=16),
)

name = "demo_mic"
name_uda = "dacs_a99_rcs0.01_cpl_m16-0.7-spta"
