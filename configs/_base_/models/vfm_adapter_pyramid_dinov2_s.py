"""VFM-UDA++'s network on DINOv2's ViT-S."""

_base_ = ["vfm_adapter_pyramid_dinov2_b.py"]

model = dict(
    pretrained="pretrained/dinov2_vits14_pretrain.pth",
    backbone=dict(
        vit=dict(model_name="vit_small_patch14_dinov2"),
        pretrained_adapter="pretrained/dinov2_small_with_vitadapter_in1k.ckpt",
    ),
    decode_head=dict(in_channels=384),
)
