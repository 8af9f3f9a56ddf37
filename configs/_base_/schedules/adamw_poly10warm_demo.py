"""A few minutes on two CPU cores, continuing from a network that knows the source."""

_base_ = ["adamw_poly10warm_40k.py"]

optimizer = dict(lr=3e-4, paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=1.0))))
lr_config = dict(warmup_iters=50)
runner = dict(max_iters=500)
checkpoint_config = dict(interval=250, max_keep_ckpts=1)
evaluation = dict(interval=125)
