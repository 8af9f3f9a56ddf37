"""The labelled source scenes alone: what adaptation has to beat."""

_base_ = ["daformer.py"]

uda = dict(source_only=True)

name = "demo_source_only"
name_uda = "dacs_srconly_rcs0.01"
