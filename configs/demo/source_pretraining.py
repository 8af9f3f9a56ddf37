"""Train the demo network from scratch on the labelled source scenes: where adaptation starts."""

_base_ = ["source_only.py"]

load_from = None
data = dict(samples_per_gpu=4)
optimizer = dict(lr=1e-3)
lr_config = dict(warmup_iters=200)
runner = dict(max_iters=2000)
evaluation = dict(interval=500)
checkpoint_config = dict(interval=2000)
log_config = dict(interval=50, img_interval=500)

name = "demo_source_pretraining"
