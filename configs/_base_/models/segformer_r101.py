"""SegFormer's head on ResNet-101 at stride 8."""

_base_ = ["segformer.py"]

norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    pretrained="open-mmlab://resnet101_v1c",
    backbone=dict(
        type="ResNetV1c",
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        contract_dilation=True,
    ),
    decode_head=dict(
        in_channels=[256, 512, 1024, 2048],
        decoder_params=dict(embed_dim=768, conv_kernel_size=1),
    ),
)
