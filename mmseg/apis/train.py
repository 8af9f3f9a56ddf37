"""Train what a config describes."""

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmseg.apis.run_folder import choose_start, continue_command, log_end, open_folder
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.registry import check_keys
from mmseg.datasets import build_dataset, build_train_loader
from mmseg.datasets.depth.fit import training_warnings
from mmseg.engine.checkpoint import load_start
from mmseg.engine.evaluator import Evaluator, has_synthia_source
from mmseg.engine.logs import get_logger, stop_logging
from mmseg.engine.optimizer import build_optimizer
from mmseg.engine.provenance import version_lines, write_repro
from mmseg.engine.run_settings import (
    batch_size_warning,
    max_iterations,
    read_settings,
    uses_sync_bn,
)
from mmseg.engine.schedule import build_schedule
from mmseg.engine.seed import determinism_lines, nondeterminism_in_log, set_random_seed
from mmseg.engine.trackers import build_trackers
from mmseg.engine.trainer import Progress, RunOutput, Trainer
from mmseg.evaluation.report import final_lines
from mmseg.models import build_train_model
from mmseg.models.layers import synchronize_batch_norm
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.interruption import Interruption

DATA = ("samples_per_gpu", "workers_per_gpu", "train", "val", "test")


@nondeterminism_in_log()
def run_training(cfg: Config, options: TrainOptions | None = None) -> Progress:
    """Set up processes, folder, log, seeds, data and method; then train."""
    options = options or TrainOptions()
    with Interruption() as interruption:
        device = processes.init_from_environment(options.launcher, options.local_rank)
        timestamp = processes.broadcast_object(time.strftime("%Y%m%d_%H%M%S"))
        cfg = prepare_config(cfg, options)
        logger = open_folder(cfg, timestamp)
        try:
            choose_start(cfg, options.resume)
            return _train(cfg, options, device, timestamp, interruption)
        except Exception as error:
            log_end(logger, error)
            raise
        finally:
            stop_logging()


def _train(
    cfg: Config,
    options: TrainOptions,
    device: torch.device,
    timestamp: str,
    interruption: Interruption,
) -> Progress:
    """Build what the config describes, log it, and train."""
    logger, work_dir = get_logger(), Path(cfg.work_dir)
    for line in version_lines(device) + determinism_lines(device, options.deterministic):
        logger.info(line)
    if warning := batch_size_warning(cfg):
        logger.warning(warning)
    torch.backends.cudnn.benchmark = bool(cfg.get("cudnn_benchmark")) and device.type == "cuda"
    set_random_seed(cfg.seed, options.deterministic)
    model = build_method(cfg)
    for line in model.describe():
        logger.info(line)
    dataset = build_dataset(cfg.data.train)
    logger.info(f"Work folder: {work_dir}; seed {cfg.seed}; {len(dataset)} training samples")
    for line in training_warnings(cfg, dataset) if processes.is_main() else []:
        logger.warning(line)
    write_repro(work_dir, cfg, dataset, device, options.deterministic, options.launcher)
    command = continue_command(cfg, *options.to_repeat())
    output = RunOutput(work_dir, interruption=interruption, command=command)
    trainer = _build_trainer(model, dataset, cfg, options.validate, timestamp, output)
    return _run(trainer, dataset, cfg)


def prepare_config(cfg: Config, options: TrainOptions) -> Config:
    """Return the config with its work folder and the seed of the command line, checked."""
    cfg = copy.deepcopy(cfg)
    check_keys(cfg.get("data") or {}, DATA, "data")
    stem = Path(cfg.filename or "config").stem
    cfg["work_dir"] = options.work_dir or cfg.get("work_dir") or f"work_dirs/{stem}"
    if options.seed is not None:
        cfg["seed"] = options.seed
    max_iterations(cfg)
    return cfg


def build_method(cfg: Config) -> Any:
    """Build the training method with its initial weights; it knows its work folder."""
    cfg = copy.deepcopy(cfg)
    own = {"work_dir": cfg.work_dir, "log_config": cfg.get("log_config") or {}}
    cfg.model["train_cfg"] = {**(cfg.model.get("train_cfg") or {}), **own}
    method: Any = build_train_model(cfg, cfg.get("train_cfg"), cfg.get("test_cfg"))
    method.init_weights()
    return method


def train_segmentor(
    model: nn.Module,
    dataset: Any,
    cfg: Config,
    distributed: bool = False,
    validate: bool = False,
    timestamp: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Progress:
    """Train a method on a dataset until `cfg.runner.max_iters`.

    Args:
        model: from `build_train_model`, with its initial weights.
        dataset: for training, or a list with one.
        cfg: whole config; `work_dir` and `seed` included.
        distributed: whether several processes have been started.
        validate: evaluate on `cfg.data.val` at `cfg.evaluation.interval` and at the end.
        timestamp: names the log files.
        meta: further plain values for the checkpoints' `meta`.

    Returns the number of finished iterations, and the last and the best evaluation.
    """
    if not hasattr(model, "accumulate_gradients"):
        raise TypeError(
            f"expected a training method, got {type(model).__name__}; make one with "
            "build_train_model(cfg), which wraps the network."
        )
    if distributed != (processes.world_size() > 1):
        raise ValueError(
            f"expected distributed={processes.world_size() > 1} for {processes.world_size()} "
            f"process(es), got {distributed}; call mmseg.system.processes.init_from_environment "
            "first."
        )
    dataset = dataset[0] if isinstance(dataset, list | tuple) else dataset
    timestamp = timestamp or time.strftime("%Y%m%d_%H%M%S")
    output = RunOutput(cfg.work_dir, meta=meta or {})
    return _run(_build_trainer(model, dataset, cfg, validate, timestamp, output), dataset, cfg)


def _run(trainer: Trainer, dataset: Any, cfg: Config) -> Progress:
    """Load what the config resumes from or starts with, train, and log the results."""
    if cfg.get("resume_from"):
        trainer.resume(cfg.resume_from)
    elif cfg.get("load_from"):
        get_logger().info(load_start(trainer.method.model, cfg.load_from))
    processes.broadcast_module(trainer.method)  # every process starts from the same weights
    samples, workers = cfg.data.get("samples_per_gpu", 1), cfg.data.get("workers_per_gpu", 0)
    settings, start = trainer.settings, trainer.progress.iteration
    span = settings.seed, start, settings.max_iters
    place = processes.rank(), processes.world_size()
    progress = trainer.run(build_train_loader(dataset, samples, workers, *span, *place))
    for line in final_lines(progress.last, progress.best):
        get_logger().info(line)
    return progress


def _build_trainer(
    model: nn.Module, dataset: Any, cfg: Config, validate: bool, timestamp: str, output: RunOutput
) -> Trainer:
    """Put optimizer, schedule, trackers and evaluation around a method."""
    if cfg.get("seed") is None:
        raise ConfigError("expected cfg.seed to be a number, got none; set seed=0, for example.")
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    model = model.to(device)
    synchronize_batch_norm(model, uses_sync_bn(cfg), torch.device(device))
    settings = read_settings(cfg, cfg.seed)
    trackers, is_resumed = [], bool(cfg.get("resume_from"))
    if processes.is_main():
        trackers = build_trackers(cfg.get("log_config") or {}, cfg.work_dir, timestamp, is_resumed)
    classes, palette = getattr(dataset, "CLASSES", None), getattr(dataset, "PALETTE", None)
    meta = {"cfg_text": cfg.pretty_text, "classes": classes, "palette": palette, **output.meta}
    evaluator = None
    if validate and cfg.data.get("val"):
        val = build_dataset(cfg.data.val, test_mode=True)
        workers = cfg.data.get("workers_per_gpu", 0)
        evaluator = Evaluator(val, settings.metric, workers, has_synthia_source(cfg))
    return Trainer(
        model,
        build_optimizer(model, cfg.optimizer),
        build_schedule(cfg.get("lr_config"), settings.max_iters),
        settings,
        replace(output, trackers=trackers, evaluator=evaluator, meta=meta),
    )
