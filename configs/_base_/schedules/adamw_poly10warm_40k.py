"""The schedule of DAFormer, HRDA, MIC and CDDA: 40,000 iterations, the head ten times as fast."""

_base_ = ["adamw.py", "poly10warm.py"]

optimizer = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            head=dict(lr_mult=10.0),
            pos_block=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0),
        )
    )
)
optimizer_config = None
n_gpus = 1
_iterations = 40000
runner = dict(type="IterBasedRunner", max_iters=_iterations)
checkpoint_config = dict(by_epoch=False, interval=_iterations)
evaluation = dict(interval=1000, metric="mIoU")
