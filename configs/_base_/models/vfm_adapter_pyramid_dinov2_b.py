"""VFM-UDA++'s network: DINOv2's ViT-B with a ViT-Adapter, and a pyramid as head.

1024x1024 pixels are seen at 1120x1120. Published runs start from an adapter that was trained on
ImageNet; with pretrained_adapter=None it starts at random, which is another experiment.
"""

model = dict(
    type="EncoderDecoder",
    pretrained="pretrained/dinov2_vitb14_pretrain.pth",
    backbone=dict(
        type="ViTAdapter",
        inner_size=1120,
        vit=dict(type="TIMMBackbone", model_name="vit_base_patch14_dinov2"),
        pretrained_adapter="pretrained/dinov2_base_with_vitadapter_in1k.ckpt",
    ),
    decode_head=dict(
        type="PyramidHead",
        in_channels=768,
        num_classes=19,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    test_cfg=dict(mode="slide", crop_size=(1024, 1024), stride=(512, 512), average="softmax"),
)
