"""DAFormer with an ASPP of full convolutions to fuse the four levels."""

_base_ = ["daformer_sepaspp_mitb5.py"]

model = dict(decode_head=dict(decoder_params=dict(fusion_cfg=dict(sep=False))))
