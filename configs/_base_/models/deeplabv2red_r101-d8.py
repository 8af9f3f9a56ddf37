"""DeepLabV2 with two dilated convolutions on ResNet-101, the network of AdvSeg, MinEnt and DACS."""

_base_ = ["deeplabv2red_r50-d8.py"]

model = dict(pretrained="open-mmlab://resnet101_v1c", backbone=dict(depth=101))
