"""SGD for DeepLabV2: 40,000 iterations at one rate for backbone and head."""

_base_ = ["sgd.py", "poly10warm.py"]

optimizer = dict(lr=0.0025)
optimizer_config = None
n_gpus = 1
_iterations = 40000
runner = dict(type="IterBasedRunner", max_iters=_iterations)
checkpoint_config = dict(by_epoch=False, interval=_iterations, max_keep_ckpts=1)
evaluation = dict(interval=4000, metric="mIoU")
