"""VFM-UDA++'s network on DINOv2's ViT-L."""

_base_ = ["vfm_adapter_pyramid_dinov2_b.py"]

model = dict(
    pretrained="pretrained/dinov2_vitl14_pretrain.pth",
    backbone=dict(
        vit=dict(model_name="vit_large_patch14_dinov2"),
        pretrained_adapter="pretrained/dinov2_large_with_vitadapter_in1k.ckpt",
    ),
    decode_head=dict(in_channels=1024),
)
