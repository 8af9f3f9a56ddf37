"""CDDA on HRDA on the demo scenes, with the crops and the bank of cdda_daformer.py."""

_base_ = ["cdda_daformer.py"]

# As published, at an eighth of the size: context of 128x128 at half scale, details of 64x64 at full
# scale. load_from fills backbone and head; the scale attention starts at random.
model = dict(
    type="HRDAEncoderDecoder",
    scales=[1, 0.5],
    hr_crop_size=(64, 64),
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
        stride=[64, 64],
        crop_size=[128, 128],
    ),
)
# Not trusted: the image border and the own car's hood, wherever a crop shows them.
data = dict(train=dict(target=dict(crop_pseudo_margins=[4, 12, 4, 4])))
uda = dict(pseudo_weight_ignore_top=0, pseudo_weight_ignore_bottom=0)

name = "demo_cdda_hrda"
name_architecture = "hrda1-64-0.1_daformer_sepaspp_sl_mitb0"
name_decoder = "hrda1-64-0.1_daformer_sepaspp_sl"
name_uda = "cdda_a99_rcs0.01_cpl2"
