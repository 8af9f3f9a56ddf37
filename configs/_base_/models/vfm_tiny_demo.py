"""The network of VFM-UDA++ on a tiny ViT: small enough to train on a CPU, from random weights."""

_base_ = ["vfm_adapter_pyramid_dinov2_b.py"]

model = dict(
    pretrained=None,
    backbone=dict(
        inner_size=224,
        vit=dict(
            model_name="vit_small_patch14_dinov2",
            # A table of 7x7 positions.
            model_kwargs=dict(embed_dim=128, depth=8, num_heads=2, img_size=98, init_values=1.0),
        ),
        pretrained_adapter=None,
    ),
    decode_head=dict(in_channels=128),
    test_cfg=dict(crop_size=(192, 192), stride=(96, 96)),
)
