"""A few minutes on two CPU cores: a higher learning rate, since nothing is pre-trained."""

_base_ = ["adamw_poly10warm_40k.py"]

optimizer = dict(lr=4e-4, paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=3.0))))
lr_config = dict(warmup_iters=50)
runner = dict(max_iters=600)
checkpoint_config = dict(interval=200, max_keep_ckpts=1)
evaluation = dict(interval=200)
