"""VFM-UDA's self-training: each image jittered on its own, a mirrored teacher, masked tokens."""

_base_ = ["dacs.py"]

uda = dict(
    alpha=0.999,
    jitter="torchvision",
    teacher_flip=True,
    mask_mode="separatetrgaug",
    mask_lambda=1,
    mask_generator=dict(type="token", mask_ratio=0.7),
)
