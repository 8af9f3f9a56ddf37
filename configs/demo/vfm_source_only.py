"""The labeled demo scenes alone, on the tiny ViT of vfmudapp.py: what adaptation has to beat.

Its images are jittered strongly, as those of VFM-UDA++.
"""

_base_ = ["vfmudapp.py"]

uda = dict(source_only=True, mask_mode=None, mask_generator=None, vfm_feature_dist=None)

name = "demo_vfm_source_only"
name_uda = "vfm_srconly_rcs0.05-2.0"
