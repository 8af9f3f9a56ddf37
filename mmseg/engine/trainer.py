"""The training loop.

One iteration: gradients gather in the method's backward passes, are averaged over the processes
once, and every optimizer steps once. The loop knows nothing of what the method computes.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmseg import distributed
from mmseg.engine.checkpoint import load_method, make_meta, read_checkpoint, saved_state
from mmseg.engine.checkpoint_folder import CheckpointFolder
from mmseg.engine.evaluator import Evaluator, write_results
from mmseg.engine.logs import get_logger
from mmseg.engine.meters import LossMeter, StepClock, memory_in_use
from mmseg.engine.optimizer import trainable_parameters
from mmseg.engine.resume import restore_optimizer
from mmseg.engine.schedule import Schedule
from mmseg.engine.settings import LoopSettings
from mmseg.engine.trackers import Tracker, log_train_record


@dataclass
class Progress:
    """What changes during a run besides weights and optimizer: all of it is in checkpoints."""

    iteration: int = 0  # finished iterations
    best: dict[str, Any] | None = None  # record of the best evaluation
    last: dict[str, Any] | None = None  # record of the newest one


@dataclass(frozen=True)
class RunOutput:
    """Where the results of a run go.

    `meta` is for checkpoints: config text, classes, palette and further plain values.
    """

    work_dir: str | Path
    trackers: Iterable[Tracker] = ()
    evaluator: Evaluator | None = None  # None trains without evaluation
    meta: Mapping[str, Any] = field(default_factory=dict)


class Trainer:
    """Runs a training method from its current iteration to the last one.

    Args:
        method: accumulates gradients; `method.model` is the student, which is evaluated.
        optimizer: of the student.
        schedule: of the learning rate.
        settings: intervals and lengths.
        output: work folder, trackers and evaluation.
    """

    def __init__(
        self,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        settings: LoopSettings,
        output: RunOutput,
    ) -> None:
        self.method: Any = method
        self.optimizer = optimizer
        self.schedule = schedule
        self.settings = settings
        self.work_dir = Path(output.work_dir)
        self.trackers = list(output.trackers)
        self.evaluator = output.evaluator
        self.meta = {"cfg_text": "", "classes": None, "palette": None, **output.meta}
        self.folder = CheckpointFolder(self.work_dir, settings.max_keep_checkpoints)
        self.progress = Progress()
        self.losses = LossMeter()
        self.device = next(method.parameters()).device

    def run(self, loader: Iterable[Mapping[str, Any]]) -> Progress:
        """Train on the batches of `loader`, which starts at the current iteration."""
        self.method.train()
        clock = StepClock(self.progress.iteration, self.settings.max_iters)
        try:
            for batch in loader:
                clock.data_is_here()
                self.step(to_device(batch, self.device))
                self._log(clock)
                self._evaluate_and_save(clock)
                clock.step_is_done()
        finally:
            for tracker in self.trackers:
                tracker.close()
        return self.progress

    def step(self, batch: Mapping[str, Any]) -> None:
        """Train on one batch."""
        iteration = self.progress.iteration
        self.schedule.apply(self.optimizer, iteration)
        self.optimizer.zero_grad(set_to_none=True)
        draws = self.method.make_draws(iteration, distributed.rank(), self.settings.seed)
        output = self.method.accumulate_gradients(batch, iteration, draws)
        parameters = trainable_parameters(self.method)
        distributed.reduce_gradients(parameters)
        if self.settings.grad_clip:
            nn.utils.clip_grad_norm_(parameters, **self.settings.grad_clip)
        self.optimizer.step()
        self.losses.add(output.losses)
        self.progress.iteration = iteration + 1
        if output.pictures is not None and distributed.is_main():
            from mmseg.visualization.debug_panels import write_debug_panels

            write_debug_panels(output.pictures, self.work_dir / "debug", iteration)

    def resume(self, path: str | Path) -> None:
        """Continue the run that wrote a checkpoint.

        Raises:
            CheckpointError: if it does not fit this run.
        """
        checkpoint = read_checkpoint(path)
        what = f"checkpoint {str(path)!r}"
        load_method(self.method, checkpoint["state_dict"], what)
        restore_optimizer(self.optimizer, checkpoint, what)
        meta = checkpoint.get("meta") or {}
        iteration = int(checkpoint.get("iteration", meta.get("iter", 0)))
        seed = checkpoint.get("seed", self.settings.seed)
        if seed != self.settings.seed:
            get_logger().warning(
                f"The {what} was trained with seed {seed}; with seed {self.settings.seed} the run "
                "goes on with other samples than without the interruption."
            )
        records = checkpoint.get("progress") or {}
        self.progress = Progress(iteration, records.get("best"), records.get("last"))
        get_logger().info(f"Resumed from {path} after iteration {iteration}.")

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds now."""
        iteration, seed = self.progress.iteration, self.settings.seed
        return {
            "meta": make_meta(iteration=iteration, seed=seed, **self.meta),
            "state_dict": saved_state(self.method),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "iteration": iteration,
            "seed": seed,
            "progress": asdict(self.progress),
        }

    def _log(self, clock: StepClock) -> None:
        """Write a line of the log at its interval and after the last iteration."""
        if not self._is_due(self.settings.log_interval):
            return
        iteration = self.progress.iteration
        means = self.losses.means()
        self.losses.reset()
        record = {
            "mode": "train",
            "iter": iteration,
            "lr": self.optimizer.param_groups[0]["lr"],
            "memory": memory_in_use(self.device),
            **clock.read(iteration),
            **means,
        }
        if distributed.is_main():
            log_train_record(self.trackers, record, self.settings.max_iters, clock.eta(iteration))

    def _evaluate_and_save(self, clock: StepClock) -> None:
        """Evaluate and write checkpoints at their intervals and after the last iteration."""
        is_evaluated = bool(self.evaluator) and self._is_due(self.settings.evaluation_interval)
        is_saved = self._is_due(self.settings.checkpoint_interval)
        if not (is_evaluated or is_saved):
            return
        self.losses.means()  # raises if a loss was not finite: such weights are not worth keeping
        start = time.perf_counter()
        is_best = is_evaluated and self.evaluate(is_saved)
        clock.pause(time.perf_counter() - start)
        if not distributed.is_main():
            return
        iteration, content = self.progress.iteration, self.content()
        file = self.folder.save(iteration, content) if is_saved else None
        if is_best:
            self.folder.save_best(iteration, content, saved=file)

    def evaluate(self, is_saved: bool = False) -> bool:
        """Evaluate the student, log and keep the result, and tell whether it is the best so far.

        Args:
            is_saved: whether a checkpoint of this iteration is about to be written.
        """
        assert self.evaluator is not None
        iteration, best = self.progress.iteration, self.progress.best
        name = f"iter_{iteration}.pth"
        evaluation = self.evaluator(
            self.method.model, checkpoint=name if is_saved else None, iteration=iteration
        )
        self.progress.last = evaluation.record
        is_best = evaluation.score > (best["mIoU"] if best else -1.0)
        if is_best:
            self.progress.best = {**evaluation.record, "checkpoint": f"best_mIoU_{name}"}
        write_results(self.work_dir, {**evaluation.record, "best": self.progress.best})
        for tracker in self.trackers:
            tracker.track({"mode": "val", "iter": iteration, **evaluation.summary})
        return is_best

    def _is_due(self, interval: int) -> bool:
        """Tell whether something of this interval happens after the current iteration."""
        done = self.progress.iteration
        return done == self.settings.max_iters or (interval > 0 and done % interval == 0)


def to_device(value: Any, device: torch.device) -> Any:
    """Move the tensors of a batch; everything else stays."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values()):
        return {key: to_device(item, device) for key, item in value.items()}
    return value
