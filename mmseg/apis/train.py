"""Train what a config describes."""

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmseg.apis.agreement import process_warnings
from mmseg.apis.checks import check_run
from mmseg.apis.run_folder import (
    choose_start,
    continue_command,
    log_end,
    open_folder,
    own_folder,
)
from mmseg.apis.train_options import TrainOptions
from mmseg.config import Config
from mmseg.config.run_config import RunConfig, read_run
from mmseg.config.sections import each
from mmseg.datasets import build_dataset, build_train_loader
from mmseg.datasets.depth.fit import training_warnings
from mmseg.datasets.joint import joined
from mmseg.engine.checkpoint import load_start
from mmseg.engine.compilation import PATIENCE, compile_method, require_compiler
from mmseg.engine.evaluator import Evaluator, has_synthia_source
from mmseg.engine.logs import get_logger, stop_logging
from mmseg.engine.optimizer import build_optimizer, initial_rate
from mmseg.engine.precision import use_tf32
from mmseg.engine.provenance import version_lines, write_repro
from mmseg.engine.schedule import Schedule
from mmseg.engine.seed import determinism_lines, nondeterminism_in_log, set_random_seed
from mmseg.engine.trackers import build_trackers
from mmseg.engine.trainer import Progress, RunOutput, Trainer
from mmseg.evaluation.report import final_lines
from mmseg.models.backbones.pretrained import weight_notes
from mmseg.models.builder import build_method, reads_depth
from mmseg.models.layers import synchronize_batch_norm
from mmseg.system import processes
from mmseg.system.errors import ConfigError
from mmseg.system.interruption import Interruption
from mmseg.system.waiting import set_patience


@nondeterminism_in_log()
def run_training(cfg: Config, options: TrainOptions | None = None) -> Progress:
    """Set up processes, folder, log, seeds, data and method; then train."""
    options = options or TrainOptions()
    cfg = with_options(cfg, options)
    run = check_run(cfg)
    set_patience(max(run.max_wait, PATIENCE) if run.compilation else run.max_wait)
    with Interruption() as interruption:
        device = processes.init_from_environment(options.launcher, options.local_rank)
        timestamp = processes.broadcast_object(time.strftime("%Y%m%d_%H%M%S"))
        with own_folder(run, options):
            logger = open_folder(run, timestamp)
            try:
                file = choose_start(cfg, options.resume)
                command = continue_command(file, *options.to_repeat())
                return _train(read_run(cfg), options, device, timestamp, (interruption, command))
            except Exception as error:
                log_end(logger, error)
                raise
            finally:
                stop_logging()


def with_options(cfg: Config, options: TrainOptions) -> Config:
    """Return the config with its work folder and the seed of the command line."""
    cfg = copy.deepcopy(cfg)
    stem = Path(cfg.filename or "config").stem
    cfg["work_dir"] = options.work_dir or cfg.get("work_dir") or f"work_dirs/{stem}"
    if options.seed is not None:
        cfg["seed"] = options.seed
    return cfg


def _train(
    run: RunConfig,
    options: TrainOptions,
    device: torch.device,
    timestamp: str,
    ending: tuple[Interruption, str],
) -> Progress:
    """Build what the config describes, log it, and train.

    `ending` is what ends the run early, and the command that continues it.
    """
    logger, work_dir = get_logger(), Path(str(run.work_dir))
    assert run.seed is not None
    lines = version_lines(device) + determinism_lines(device, options.deterministic)
    for line in [*lines, *use_tf32(run.tf32, device), *options.notes]:
        logger.info(line)
    for warning in process_warnings(run):
        logger.warning(warning)
    if run.compilation is not None:
        require_compiler(device)
    torch.backends.cudnn.benchmark = run.tunes_convolutions and device.type == "cuda"
    set_random_seed(run.seed, options.deterministic)
    model = build_initial_method(run)
    for line in [*model.describe(), *weight_notes(model)]:
        logger.info(line)
    dataset = build_dataset(training_data(run))
    logger.info(f"Work folder: {work_dir}; seed {run.seed}; {len(dataset)} training samples")
    if run.notice is not None:
        logger.log(*run.notice)
    for line in training_warnings(run.uda, dataset) if processes.is_main() else []:
        logger.warning(line)
    write_repro(work_dir, run, dataset, device, options.deterministic, options.launcher)
    interruption, command = ending
    output = RunOutput(work_dir, interruption=interruption, command=command)
    trainer = _build_trainer(model, dataset, run, options.validate, timestamp, output)
    return _run(trainer, dataset, run)


def images_per_step(run: RunConfig) -> int:
    """Return how many source images of all processes make one step of the optimizer."""
    return processes.world_size() * run.data.samples_per_gpu * run.updates.cumulative_iters


def training_data(run: RunConfig) -> dict[str, Any]:
    """Return the section of the training data, without depth maps if the method uses none."""
    train: Any = copy.deepcopy(run.data.train or {})
    if not reads_depth(run.uda):
        sections: list[Any] = [train, *each(train.get("source")), *each(train.get("target"))]
        for section in sections:
            section.pop("dep_dir", None)
    return train


def build_initial_method(run: RunConfig) -> Any:
    """Build the training method with its initial weights; it knows its work folder."""
    pictures = {"img_interval": run.logging.picture_interval}
    own = {"work_dir": run.work_dir, "log_config": pictures}
    model: Any = copy.deepcopy(run.model)
    model["train_cfg"] = {**(model.get("train_cfg") or {}), **own}
    if model.get("test_cfg") is None:
        model["test_cfg"] = run.test_cfg
    method: Any = build_method(model, run.uda, run.data.source, run.runner.max_iters)
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
    run = read_run(cfg)
    if run.seed is None:
        raise ConfigError("expected cfg.seed to be a number, got none. Set seed=0, for example.")
    output = RunOutput(str(run.work_dir), meta=meta or {})
    return _run(_build_trainer(model, dataset, run, validate, timestamp, output), dataset, run)


def _run(trainer: Trainer, dataset: Any, run: RunConfig) -> Progress:
    """Load what the config resumes from or starts with, train, and log the results."""
    if run.resume_from:
        trainer.resume(run.resume_from)
    elif run.load_from:
        get_logger().info(load_start(trainer.method.model, run.load_from))
    processes.broadcast_module(trainer.method)  # every process starts from the same weights
    assert run.seed is not None
    span = run.seed, trainer.progress.iteration, run.runner.max_iters
    place = processes.rank(), processes.world_size()
    loading = run.data.samples_per_gpu, run.data.workers
    progress = trainer.run(build_train_loader(dataset, *loading, *span, *place))
    for line in final_lines(progress.last, progress.best):
        get_logger().info(line)
    return progress


def _build_trainer(
    model: nn.Module,
    dataset: Any,
    run: RunConfig,
    validate: bool,
    timestamp: str,
    output: RunOutput,
) -> Trainer:
    """Put optimizer, schedule, trackers and evaluation around a method."""
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    model = model.to(device)
    synchronize_batch_norm(model, run.sync_bn, torch.device(device))
    if run.compilation is not None:
        compile_method(model, run.compilation)
    trackers, is_resumed = [], bool(run.resume_from)
    if processes.is_main():
        hooks = run.logging.hooks or ()
        trackers = build_trackers(hooks, str(run.work_dir), timestamp, is_resumed)
    classes, palette = getattr(dataset, "CLASSES", None), getattr(dataset, "PALETTE", None)
    meta = {"cfg_text": run.text, "classes": classes, "palette": palette, **output.meta}
    evaluator = None
    if validate and run.data.val:
        val = build_dataset(joined(run.data.val), test_mode=True)
        with_subsets = has_synthia_source(run.data)
        evaluator = Evaluator(val, run.evaluation.metrics, run.data.workers, with_subsets)
    images = images_per_step(run)
    if run.optimizer.get("sqrt_batch"):
        rate, base = initial_rate(run.optimizer, images), run.optimizer["lr"]
        get_logger().info(f"Learning rate: {base} x the root of {images} images per step = {rate}")
    return Trainer(
        model,
        build_optimizer(model, run.optimizer, images),
        Schedule(run.schedule, run.runner.max_iters),
        run,
        replace(output, trackers=trackers, evaluator=evaluator, meta=meta),
    )
