"""Entropy minimization on the demo scenes, with the sampling of source_only.py."""

_base_ = ["daformer.py"]

uda = dict(_delete_=True, type="MinEnt", lambda_ent=dict(main=0.001))

name = "demo_minent"
name_uda = "minent_rcs0.01"
