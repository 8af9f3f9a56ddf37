"""DeepLabV2 with two dilated convolutions instead of four, as most adaptation methods use it."""

_base_ = ["deeplabv2_r50-d8.py"]

model = dict(decode_head=dict(dilations=(6, 12)))
