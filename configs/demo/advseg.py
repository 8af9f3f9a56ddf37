"""Adversarial training on outputs on the demo scenes, with the sampling of source_only.py."""

_base_ = ["daformer.py"]

uda = dict(_delete_=True, type="AdvSeg", lambda_adv_target=dict(main=0.001))

name = "demo_advseg"
name_uda = "advseg_rcs0.01"
