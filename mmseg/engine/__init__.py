"""The loop around a training method: optimizer, schedule, checkpoints, evaluation, logs."""

from mmseg.engine.checkpoint import CheckpointError, load_weights, read_checkpoint, write_checkpoint
from mmseg.engine.evaluator import Evaluator, predictions
from mmseg.engine.optimizer import build_optimizer
from mmseg.engine.schedule import Schedule, build_schedule
from mmseg.engine.seed import set_random_seed
from mmseg.engine.trainer import Trainer

__all__ = [
    "CheckpointError",
    "Evaluator",
    "Schedule",
    "Trainer",
    "build_optimizer",
    "build_schedule",
    "load_weights",
    "predictions",
    "read_checkpoint",
    "set_random_seed",
    "write_checkpoint",
]
