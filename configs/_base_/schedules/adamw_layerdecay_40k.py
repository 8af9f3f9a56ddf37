"""The schedule of VFM-UDA++: 40,000 iterations, a vision transformer slower the nearer the image.

The learning rate is that of one image; it grows with the root of the images per step, which are 2
on each of 4 GPUs.
"""

_base_ = ["adamw.py"]

optimizer = dict(
    lr=5e-5,
    sqrt_batch=True,
    paramwise_cfg=dict(layer_decay=0.9, backbone_lr_mult=0.1),
)
optimizer_config = None
lr_config = dict(policy="warmup_linear", warmup_iters=1500, warmup_ratio=1e-3)
amp = dict(dtype="float16")
n_gpus = 4
_iterations = 40000
runner = dict(type="IterBasedRunner", max_iters=_iterations)
checkpoint_config = dict(by_epoch=False, interval=_iterations)
evaluation = dict(interval=1000, metric="mIoU")
