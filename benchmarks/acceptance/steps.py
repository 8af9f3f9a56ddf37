"""Training steps of the published configs on random images: time, memory, share of the peak.

They are steps of `Trainer`, as in training. Networks and images are random, and CDDA's thresholds
are so low that every part of it runs in every step.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count
from training_step import build, leave_classes_out, training_batch, wait

from acceptance import ROOT
from acceptance.bench import Bench
from acceptance.device import allow_tf32, has_bfloat16, memory, start_memory
from mmseg.config import load_config
from mmseg.config.run_config import read_run
from mmseg.config.sections import CompileConfig
from mmseg.engine import build_optimizer
from mmseg.engine.compilation import compile_method, require_compiler
from mmseg.engine.fitting import recomputing_keys
from mmseg.engine.schedule import Schedule
from mmseg.engine.trainer import RunOutput, Trainer
from mmseg.models.uda.settings import DACSSettings
from mmseg.system.errors import ConfigError

TABLE, SWITCHED = "training step", "switches"
COMPILING = {"--compile": CompileConfig(), "--compile max": CompileConfig("max")}
KEYS_OF: dict[str, Callable[[Any], list[str]]] = {"with_cp": recomputing_keys}
if hasattr(DACSSettings, "joint_passes"):
    KEYS_OF["joint_passes"] = lambda cfg: ["uda.joint_passes"]
NO_BF16 = "the GPU has no bfloat16 (compute capability below 8.0)"


@dataclass(frozen=True)
class Mode:
    """A precision: what autocast computes in, and whether float32 may be rounded to TF32."""

    name: str
    dtype: str | None = None
    has_tf32: bool = False


FP32, TF32, BF16 = Mode("fp32"), Mode("TF32", has_tf32=True), Mode("bf16", "bfloat16", True)


class Steps:
    """The training steps of `configs/<config>.py`, with random weights and one random batch.

    The bank has `num_crops` source crops, or as many as the scale says. `switch` is one of
    `KEYS_OF`, whose keys are switched on.
    """

    def __init__(
        self, bench: Bench, config: str, num_crops: int | None = None, switch: str = ""
    ) -> None:
        self.bench, self.config = bench, config
        start_memory(bench.device)  # frees the networks of earlier sections
        torch.manual_seed(0)
        self.cfg = load_config(ROOT / "configs" / config)
        if switch in KEYS_OF:
            self.cfg.merge_options(dict.fromkeys(KEYS_OF[switch](self.cfg), True))
        size = tuple(self.cfg.crop_size)
        method = build(self.cfg, num_crops or bench.scale.bank)
        leave_classes_out(method)
        self.method: Any = method.to(bench.device)
        self.number = self.cfg.data.samples_per_gpu
        self.batch = training_batch(method, self.number, size, bench.device)
        self.tflop: float | None = None  # operations of a step, counted once

    def name(self, mode: Mode, with_cdda: bool = True) -> str:
        """Return the name of a measurement."""
        return f"{TABLE}: {self.config} {mode.name}{'' if with_cdda else ' without CDDA'}"

    def trainer(self, mode: Mode) -> Trainer:
        """Return a trainer with a new optimizer, after iteration 0."""
        allow_tf32(mode.has_tf32)
        self.cfg["amp"] = {"dtype": mode.dtype} if mode.dtype else None
        run = read_run({**self.cfg, "seed": 0})
        trainer = Trainer(
            self.method,
            build_optimizer(self.method, self.cfg.optimizer, self.number),
            Schedule(run.schedule, run.runner.max_iters),
            run,
            RunOutput(self.bench.folder / "steps"),
        )
        trainer.progress.iteration = 1  # at 0, pictures would be due
        self.method.train()
        return trainer

    def time(self, trainer: Trainer) -> dict[str, Any]:
        """Time steps, and how long the host takes to queue them."""
        scale, device = self.bench.scale, self.bench.device
        whole, host, begin = [], [], time.monotonic()
        while len(whole) < scale.timed:
            wait(device)
            start = time.perf_counter()
            trainer.step(self.batch)
            host.append(time.perf_counter() - start)
            wait(device)
            whole.append(time.perf_counter() - start)
            if len(whole) >= 2 and time.monotonic() - begin > scale.seconds:
                break
        return {
            "seconds": min(whole),
            "median": statistics.median(whole),
            "host_seconds": statistics.median(host),
            "steps": len(whole),
        }

    def measure(self, mode: Mode, with_cdda: bool = True) -> None:
        """Add a row to the table of steps."""
        cdda = self.method.cdda
        row = {"config": self.config, "mode": mode.name, "cdda": with_cdda, "batch": self.number}
        self.method.cdda = cdda if with_cdda else None
        try:
            with self.bench.trying(self.name(mode, with_cdda), TABLE, **row):
                trainer = self.trainer(mode)
                for _ in range(self.bench.scale.warm_ups):
                    trainer.step(self.batch)
                times = self.time(trainer)
                used = memory(self.bench.device)
                share = self._share(trainer, mode, times["seconds"]) if with_cdda else {}
                self.bench.record.measure(TABLE, **row, fits=True, **times, **used, **share)
                expected = with_cdda and cdda is not None
                if ("tgt.loss" in trainer.state.losses.means()) != expected:
                    raise AssertionError(
                        f"{self.config}: expected guidance to run: {expected}, got the opposite; "
                        "adapt leave_classes_out in benchmarks/training_step.py."
                    )
        finally:
            self.method.zero_grad(set_to_none=True)
            self.method.cdda = cdda

    def _share(self, trainer: Trainer, mode: Mode, seconds: float) -> dict[str, float]:
        """Return the operations of a step, and the share of the possible ones that it reaches."""
        if self.tflop is None:
            self.tflop = count_operations(lambda: trainer.step(self.batch)) / 1e12
        share = {"tflop": self.tflop, "tflops": self.tflop / seconds}
        peak = self.bench.peaks.get(mode.name)
        return share if peak is None else {**share, "share_of_peak": share["tflops"] / peak}


def count_operations(task: Callable[[], object]) -> int:
    """Return the operations of a task's matrix products, attentions and convolutions."""
    # torch multiplies the gradient of a depth-wise convolution's weights by its channels.
    own = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        task()
    return counter.get_total_flops()


def _convolution_backward(
    gradient: list[int], image: list[int], weight: list[int], *rest: Any, **named: Any
) -> int:
    """Return the operations of a convolution's gradients, from the shapes of its inputs.

    The image's gradient and the weights' each take as many as the convolution itself.
    """
    is_transposed, wanted = rest[4], rest[7]
    once = conv_flop_count(image, weight, gradient, transposed=is_transposed)
    return once * sum(map(bool, wanted[:2]))


def published(bench: Bench) -> None:
    """Measure the published configs, in the usual precision first."""
    for config in bench.scale.published:
        _measure_all(bench, config, [(BF16, True), (FP32, True), (FP32, False), (BF16, False)])


def published_in_tf32(bench: Bench) -> None:
    """Measure the same configs with float32 rounded to TF32."""
    for config in bench.scale.published:
        _measure_all(bench, config, [(TF32, True)])


def published_later(bench: Bench) -> None:
    """Measure the configs with the other source, whose bank and images differ."""
    for config in bench.scale.published_later:
        _measure_all(bench, config, [(BF16, True), (FP32, True), (TF32, True)])


def _measure_all(bench: Bench, config: str, wanted: list[tuple[Mode, bool]]) -> None:
    torch.backends.cudnn.benchmark = True  # as the configs say
    name = f"{TABLE}: {config}"
    if not bench.has_time(name, seconds=30):
        return
    with bench.trying(name):
        steps = Steps(bench, config)
        for mode, with_cdda in wanted:
            name = steps.name(mode, with_cdda)
            if mode.dtype == "bfloat16" and not has_bfloat16(bench.device):
                bench.record.leave_out(name, NO_BF16)
            elif bench.has_time(name, seconds=15):
                steps.measure(mode, with_cdda)


def switched(bench: Bench) -> None:
    """Measure steps with the switches of training, each by itself, in half precision.

    What compiles is reported with the seconds of its first steps.
    """
    torch.backends.cudnn.benchmark = True
    mode = BF16 if has_bfloat16(bench.device) else FP32
    switches = [*KEYS_OF, *(COMPILING if _has_compiler(bench) else ())]
    for config in (*bench.scale.published, *bench.scale.published_later):
        for switch in switches:
            seconds = 75 if switch in COMPILING else 15
            if bench.has_time(f"{SWITCHED}: {config} {switch}", seconds):
                _measure_switched(bench, config, mode, switch)


def _has_compiler(bench: Bench) -> bool:
    if bench.is_dry:
        return True  # nothing is compiled
    try:
        require_compiler(bench.device)
    except ConfigError as error:
        bench.record.leave_out("torch.compile", str(error))
        return False
    return True


def _measure_switched(bench: Bench, config: str, mode: Mode, switch: str) -> None:
    """Add a row for a config with a switch; a config that refuses it is left out."""
    torch.compiler.reset()
    name = f"{SWITCHED}: {config} {switch}"
    row = {"config": config, "mode": mode.name, "switch": switch}
    with bench.trying(name, SWITCHED, **row):
        try:
            steps = Steps(bench, config, switch=switch)
        except ConfigError as error:
            bench.record.leave_out(name, str(error))
            return
        if switch in COMPILING:
            compile_method(steps.method, COMPILING[switch], bench.scale.compiler)
        trainer = steps.trainer(mode)
        start = time.perf_counter()
        for _ in range(bench.scale.warm_ups):
            trainer.step(steps.batch)
        wait(bench.device)
        warm_up = time.perf_counter() - start
        times = steps.time(trainer)
        if switch in COMPILING:
            row["compile_seconds"] = warm_up - bench.scale.warm_ups * times["seconds"]
        used = memory(bench.device)
        bench.record.measure(SWITCHED, **row, batch=steps.number, fits=True, **times, **used)
