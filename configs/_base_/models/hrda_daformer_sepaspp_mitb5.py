"""HRDA around DAFormer: context at half size, details of 512x512 at full size."""

_base_ = ["daformer_sepaspp_mitb5.py"]

model = dict(
    type="HRDAEncoderDecoder",
    scales=[1, 0.5],
    hr_crop_size=(512, 512),
    feature_scale=0.5,
    crop_coord_divisible=8,
    hr_slide_inference=True,
    decode_head=dict(
        type="HRDAHead",
        single_scale_head="DAFormerHead",
        attention_classwise=True,
        hr_loss_weight=0.1,
    ),
    test_cfg=dict(
        mode="slide",
        batched_slide=True,
        stride=[512, 512],
        crop_size=[1024, 1024],
    ),
)
