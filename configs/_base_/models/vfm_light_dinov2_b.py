"""VFM-UDA's network: DINOv2's ViT-B and a light head; 1024x1024 pixels are seen at 1120x1120."""

model = dict(
    type="EncoderDecoder",
    pretrained="pretrained/dinov2_vitb14_pretrain.pth",
    backbone=dict(
        type="TIMMBackbone",
        model_name="vit_base_patch14_dinov2",
        inner_size=1120,
        final_norm=True,
        mask_token=True,
    ),
    decode_head=dict(
        type="LightHead",
        in_channels=768,
        num_classes=19,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    test_cfg=dict(mode="slide", crop_size=(1024, 1024), stride=(512, 512), average="softmax"),
)
