"""SegFormer's head; a child config names the backbone and `decoder_params.embed_dim`."""

norm_cfg = dict(type="BN", requires_grad=True)
find_unused_parameters = True
model = dict(
    type="EncoderDecoder",
    pretrained=None,
    backbone=dict(type="IMTRv21_5", style="pytorch"),  # a placeholder
    decode_head=dict(
        type="SegFormerHead",
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=128,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        decoder_params=dict(),
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
