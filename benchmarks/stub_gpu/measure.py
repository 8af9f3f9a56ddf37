"""Count what steps and pictures ask of the GPU; `child.measure` starts this file.

python -m stub_gpu.measure CASES.json FOUND.json
"""

import gc
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from training_step import build, training_batch

from mmseg.apis.predicting.loading import build_network
from mmseg.apis.predicting.segmenter import sample_of
from mmseg.config import Config
from mmseg.config.run_config import read_run
from mmseg.datasets import collate
from mmseg.datasets.byte_maps import narrowed
from mmseg.datasets.loader import to_device
from mmseg.engine import build_optimizer
from mmseg.engine.evaluator import predict
from mmseg.engine.schedule import Schedule
from mmseg.engine.trainer import RunOutput, Trainer
from mmseg.system.errors import ConfigError
from stub_gpu import counters
from stub_gpu.cases import Case, read
from stub_gpu.parts import Parts
from stub_gpu.sites import by_site

DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
DEVICE = torch.device("cuda", 0)
PICTURE = (1024, 2048, 3)  # a picture of Cityscapes
ITERATION = 1  # whose draws both jitter and blur the mixed images
MOST_REPETITIONS = 6


def main(wanted: Path, found: Path) -> None:
    """Measure all cases; those of one network that follow each other share it."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # it cannot be made up, and is no first choice
    gc.freeze()  # what was imported stays: `_forget` need not look at it
    cases = [Case(**case) for case in json.loads(wanted.read_text(encoding="utf-8"))]
    rows: list[dict[str, Any]] = []
    for _, group in groupby(cases, key=_network_of):
        rows += measured(list(group))
        _forget()
    found.write_text(json.dumps(rows), encoding="utf-8")


def _network_of(case: Case) -> tuple[Any, ...]:
    return case.config, dict(case.options), case.batch, case.crops, case.is_picture


def measured(cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Yield for each case of one network what `steady` returns.

    The row is {"fits": False} if it does not fit into memory, and {"refused": why} if the config
    does not take the case's options.
    """
    tasks = None
    for case in cases:
        try:
            tasks = tasks or (Picture(case) if case.is_picture else Step(case))
            yield {"fits": True, **steady(tasks, case)}
        except torch.OutOfMemoryError:
            tasks = None
            yield {"fits": False}
        except ConfigError as error:
            yield {"refused": str(error)}
        _forget()


def steady(tasks: "Step | Picture", case: Case) -> dict[str, Any]:
    """Return the counts of a task that do not change any more, and the peaks of all repetitions.

    The first times, cuDNN tries algorithms for each size, and the optimizer makes its state.
    """
    task, parts, last, peaks = tasks.task(case.amp), tasks.parts, {}, []
    for _ in range(MOST_REPETITIONS):
        parts.clear()
        counts = counters.count(task)
        peaks.append(counters.take_peaks())
        if counts == last:
            largest = {name: max(peak[name] for peak in peaks) for name in peaks[0]}
            found: dict[str, Any] = {**counts, **largest, "parts": dict(parts.launches)}
            return {**found, "sites": by_site(task, case.sites)} if case.sites else found
        last = counts
    raise AssertionError(
        f"{case.config}: expected the same step to ask the same of the GPU again, got two "
        f"different counts after {MOST_REPETITIONS} steps: {last}, {counts}."
    )


class Step:
    """Training steps of a config with random weights: guidance runs, every image is matched."""

    def __init__(self, case: Case) -> None:
        self.cfg = _config(case)
        self.number = case.batch or self.cfg.data.samples_per_gpu
        with _without_draws():
            self.method: Any = build(self.cfg, case.crops).to(DEVICE)
        size = tuple(self.cfg.crop_size)
        batch = training_batch(self.method, self.number, size, torch.device("cpu"))
        self.batch = _pinned(batch)
        self.parts = Parts()
        self.parts.watch_method(self.method)

    def task(self, amp: str | None) -> Callable[[], None]:
        """Return a function that trains on the batch, with the draws of one iteration."""
        self.method.zero_grad(set_to_none=True)
        run = read_run({**self.cfg, "seed": 0, "amp": amp and {"dtype": DTYPES[amp]}})
        optimizer = build_optimizer(self.method, self.cfg.optimizer, self.number)
        schedule = Schedule(run.schedule, run.runner.max_iters)
        output = RunOutput(Path(tempfile.gettempdir()) / "nothing_is_written")
        trainer = Trainer(self.method, optimizer, schedule, run, output)
        self.parts.watch_trainer(trainer)
        self.method.train()

        def step() -> None:
            trainer.progress.iteration = ITERATION
            trainer.step(to_device(self.batch, trainer.device))

        return step


class Picture:
    """The student's labels of one picture, with the config's own test scale and windows."""

    def __init__(self, case: Case) -> None:
        cfg = _config(case)
        with _without_draws():
            self.network = build_network(cfg).to(DEVICE).eval()
        sample = sample_of(list(cfg.data.test.pipeline), np.zeros(PICTURE, np.uint8))
        batch = collate([sample])
        self.batch = {**batch, "img": [image.pin_memory() for image in batch["img"]]}
        self.parts = Parts()

    def task(self, amp: str | None) -> Callable[[], None]:
        """Return a function that labels the picture."""
        dtype = getattr(torch, DTYPES[amp]) if amp else None

        def label() -> None:
            with torch.autocast(DEVICE.type, dtype, enabled=amp is not None):
                predict(self.network, self.batch)

        return label


def _config(case: Case) -> Config:
    cfg = read(case.config)
    cfg.merge_options(case.options)
    _leave_weights_out(cfg.model)
    _leave_weights_out(cfg.get("uda") or {})
    torch.backends.cudnn.benchmark = bool(cfg.get("cudnn_benchmark"))
    return cfg


def _leave_weights_out(section: dict[str, Any]) -> None:
    """Let a section of a config name no files of weights."""
    for key, value in section.items():
        if key.startswith("pretrained"):
            section[key] = None
        elif isinstance(value, dict):
            _leave_weights_out(value)
    if section.get("vfm_feature_dist"):
        section["vfm_feature_dist"]["allows_random"] = True


@contextmanager
def _without_draws() -> Iterator[None]:
    """Draw zeros instead of weights: drawing takes most of the time, for values of no effect."""
    drawing = Tensor.uniform_, Tensor.normal_
    Tensor.uniform_ = Tensor.normal_ = lambda tensor, *arguments, **named: tensor.zero_()
    try:
        yield
    finally:
        Tensor.uniform_, Tensor.normal_ = drawing


def _pinned(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch as the loader hands it over; resized depth has fractions."""
    batch = narrowed({**batch, "target_depth": batch["target_depth"] + 0.5})
    tensors = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    return {**batch, **{key: tensor.pin_memory() for key, tensor in tensors.items()}}


def _forget() -> None:
    """Return the memory of what is not used any more, so that the next peak is its own."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
