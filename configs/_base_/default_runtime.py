"""Logging, resuming and process settings that every run shares."""

log_config = dict(
    interval=50,
    img_interval=7000,
    hooks=[dict(type="TextLoggerHook", by_epoch=False)],
)
dist_params = dict(backend="nccl")
log_level = "INFO"
load_from = None
resume_from = None
workflow = [("train", 1)]
cudnn_benchmark = True
