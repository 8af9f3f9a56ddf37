"""Self-training as DACS has it: the demo's DAFormer without rare class sampling and margins."""

_base_ = ["daformer.py"]

data = dict(train=dict(rare_class_sampling=None))
uda = dict(pseudo_weight_ignore_top=0, pseudo_weight_ignore_bottom=0)

name = "demo_dacs"
name_uda = "dacs_a99"
