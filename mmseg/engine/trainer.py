"""The training loop.

In one iteration, gradients gather in the method's backward passes and are averaged over the
processes once; then every optimizer steps once. The loop does not know what the method computes.
"""

import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmseg.config.run_config import RunConfig
from mmseg.datasets.loader import to_device
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.checkpoint_folder import LATEST, CheckpointFolder
from mmseg.engine.evaluator import Evaluator, note_collapse, write_results
from mmseg.engine.finite import require_finite
from mmseg.engine.logs import get_logger
from mmseg.engine.memory_advice import explains_full_step
from mmseg.engine.meters import StepClock, memory_in_use
from mmseg.engine.precision import Precision
from mmseg.engine.run_state import Progress, RunState
from mmseg.engine.schedule import Schedule
from mmseg.engine.trackers import Tracker, text_line
from mmseg.engine.updates import Updates
from mmseg.system import processes
from mmseg.system.interruption import Interruption, RunInterrupted
from mmseg.system.waiting import beat
from mmseg.system.workers import WorkerError

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class RunOutput:
    """Where the results of a run go, and what ends it early."""

    work_dir: str | Path
    trackers: Iterable[Tracker] = ()
    evaluator: Evaluator | None = None  # None trains without evaluation
    meta: Mapping[str, Any] = field(default_factory=dict)  # config text, classes, palette, …
    interruption: Interruption | None = None  # None leaves signals alone
    command: str = "the same command with --resume auto"  # continues an interrupted run


class Trainer:
    """Runs a training method from its current iteration to the last one.

    The method accumulates gradients; its `model` is the student, which is optimized and evaluated.
    """

    def __init__(
        self,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        settings: RunConfig,
        output: RunOutput,
    ) -> None:
        self.method: Any = method
        self.optimizer, self.schedule = optimizer, schedule
        self.settings, self.output = settings, output
        self.work_dir = Path(output.work_dir)
        self.trackers = list(output.trackers)
        self.folder = CheckpointFolder(self.work_dir, settings.checkpoints.max_kept)
        self.device = next(method.parameters()).device
        self.precision = Precision(settings.precision, self.device)
        self.method.scale_loss = self.precision.scaler.scale
        if self.precision.dtype is not None and hasattr(method, "prepare_autocast"):
            self.method.prepare_autocast(self.precision.dtype)
        self.updates = Updates(method, optimizer, settings, self.precision)
        meta = {"cfg_text": "", "classes": None, "palette": None, **output.meta}
        self.state = RunState(method, self.updates, schedule, settings, self.device, meta)
        self._last_checkpoint: Path | None = None  # that this run has written or read
        self._lost_workers: WorkerError | None = None  # ends the run, once it is saved
        self._latest_iteration = -1  # of `latest.pth`, if this run has written or read it

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.state.progress

    def run(self, loader: Iterable[Mapping[str, Any]]) -> Progress:
        """Train on the batches of `loader`, which starts at the current iteration.

        Once the run is saved, `RunInterrupted` after a signal and `WorkerError` when the workers of
        a loader cannot go on; `FloatingPointError` when losses or weights are not finite;
        `FullMemoryError` when the memory is full.
        """
        self.method.train()
        clock = StepClock(self.progress.iteration, self.settings.runner.max_iters)
        batches = None
        try:
            self._complete_restored_iteration(clock)
            batches = self._batches(loader, clock)
            for batch in batches:
                with explains_full_step(batch, self.device, self.settings):
                    self.step(to_device(batch, self.device))
                self._log(clock)
                self._evaluate_and_save(clock, self._is_evaluation_due())
                clock.step_is_done()
        except FloatingPointError as error:
            good = self._last_checkpoint
            start = f"resume from '{good}', which was written before" if good else "start again"
            raise FloatingPointError(
                f"{error}; look at the data or lower the learning rate, and {start}."
            ) from error
        finally:
            if batches is not None:
                batches.close()
            for tracker in self.trackers:
                tracker.close()
        return self.progress

    def _batches(self, loader: Iterable[Batch], clock: StepClock) -> Generator[Batch, None, None]:
        """Yield the batches; before each, and after the last, the run may end on all processes."""
        self._end_if_asked()
        items, batch = None, {}
        try:
            while batch is not None:
                batch, stop = None, None
                try:
                    items = items or iter(loader)
                    batch = next(items, None)
                except RunInterrupted as signal:  # while it waited
                    stop = signal
                except WorkerError as error:
                    self._lost_workers = error
                clock.data_is_here()
                self._end_if_asked()  # knows of the signal, too
                if stop is not None:
                    raise stop
                if batch is not None:
                    yield batch
        finally:
            if isinstance(items, Generator):
                items.close()  # ends the loader's workers, also after an error

    def step(self, batch: Batch) -> None:
        """Train on one batch."""
        iteration = self.progress.iteration
        beat(f"iteration {iteration}")
        self.schedule.apply(self.optimizer, iteration)
        self.updates.before(iteration)
        draws = self.method.make_draws(iteration, processes.rank(), self.settings.seed)
        with self.precision.autocast():
            output = self.method.accumulate_gradients(batch, iteration, draws)
        logged = self.updates.after(iteration)
        self.state.losses.add({**output.losses, **logged}, iteration + 1)
        self.progress.iteration = iteration + 1
        if output.pictures is not None and processes.is_main():
            from mmseg.visualization.debug_panels import write_debug_panels

            pictures = {**output.pictures, "palette": self.output.meta.get("palette")}
            write_debug_panels(pictures, self.work_dir / "debug", iteration)

    def resume(self, path: str | Path) -> None:
        """Continue the run that wrote a checkpoint; `CheckpointError` if it does not fit."""
        path = Path(path)
        self.state.restore(read_checkpoint(path), f"checkpoint {str(path)!r}")
        iteration, self._last_checkpoint = self.progress.iteration, path
        if path.absolute() == (self.work_dir / LATEST).absolute():
            self._latest_iteration = iteration
        get_logger().info(f"Resumed from {path} after iteration {iteration}.")

    def content(self) -> dict[str, Any]:
        """Return the content of a checkpoint; all processes have to call it."""
        return self.state.content()

    def evaluate(self, is_saved: bool = False) -> bool:
        """Evaluate the student, log and keep the result, and tell whether it is the best so far.

        A signal ends the evaluation without a result. The record names `iter_N.pth` if that file
        is about to be written.
        """
        evaluator, interruption = self.output.evaluator, self.output.interruption
        assert evaluator is not None
        iteration, best = self.progress.iteration, self.progress.best
        name = f"iter_{iteration}.pth"
        processes.broadcast_buffers(self.method.model)
        try:
            with self.precision.autocast():
                evaluation = evaluator(
                    self.method.model,
                    should_stop=interruption and (lambda: interruption.requested),
                    checkpoint=name if is_saved else None,
                    iteration=iteration,
                )
        except WorkerError as error:  # on all processes; the run ends when the rest is saved
            self._lost_workers, evaluation = error, None
        if evaluation is None:
            return False
        class_best = self.progress.class_best
        evaluation, self.progress.class_best = note_collapse(evaluation, class_best, iteration)
        self.progress.last = evaluation.record
        is_best = evaluation.score > (best["mIoU"] if best else -1.0)
        if is_best:
            self.progress.best = {**evaluation.record, "checkpoint": f"best_mIoU_{name}"}
        write_results(self.work_dir, {**evaluation.record, "best": self.progress.best})
        for tracker in self.trackers:
            tracker.track({"mode": "val", "iter": iteration, **evaluation.summary})
        return is_best

    def _log(self, clock: StepClock) -> None:
        """Write a line of the log if it is due after this iteration."""
        if not self._is_due(self.settings.logging.interval):
            return
        iteration, scale = self.progress.iteration, self.precision.scale()
        means = self.state.losses.means()
        self.state.losses.reset()
        record = {
            "mode": "train",
            "iter": iteration,
            "lr": self.optimizer.param_groups[0]["lr"],
            "memory": memory_in_use(self.device),
            **clock.read(iteration),
            **means,
            **({} if scale is None else {"loss_scale": scale}),
        }
        if processes.is_main():
            max_iters = self.settings.runner.max_iters
            get_logger().info(text_line(record, max_iters, clock.eta(iteration)))
            for tracker in self.trackers:
                tracker.track(record)

    def _complete_restored_iteration(self, clock: StepClock) -> None:
        """Do what the interrupted run did not finish: an evaluation, or one of two files."""
        iteration, last = self.progress.iteration, self.progress.last
        is_missing = self._is_evaluation_due() and (last or {}).get("iteration") != iteration
        if iteration > 0 and (is_missing or self._latest_iteration != iteration):
            self._evaluate_and_save(clock, is_missing)

    def _evaluate_and_save(self, clock: StepClock, is_evaluated: bool) -> None:
        """Evaluate, and write the checkpoints that are due after this iteration.

        The best one comes first and `latest.pth` last, so being killed at any moment loses neither.
        """
        is_saved = self._is_due(self.settings.checkpoints.interval)
        interval = self.settings.checkpoints.resume_interval
        is_rolling = interval > 0 and self.progress.iteration % interval == 0
        if not (is_evaluated or is_saved or is_rolling):
            return
        self._require_finite()
        start = time.perf_counter()
        is_best = is_evaluated and self.evaluate(is_saved)
        clock.pause(time.perf_counter() - start)
        if is_best or is_saved or is_rolling:
            self._save(is_best, is_saved, is_rolling)

    def _save(self, is_best: bool, is_saved: bool, is_rolling: bool) -> Path:
        """Write the wanted files, and return the last of them when it is complete."""
        iteration, content = self.progress.iteration, self.content()
        file: Any = None
        if processes.is_main():
            if is_best:
                file = self.folder.save_best(iteration, content)
            if is_saved:
                file = self.folder.save(iteration, content)
            elif is_rolling:
                file = self.folder.save_latest(content)
        if is_saved or is_rolling:
            self._latest_iteration = iteration
        self._last_checkpoint = file = processes.broadcast_object(file)
        return file

    def _end_if_asked(self) -> None:
        """After a signal to any process, or lost workers of any: save, and end the run on all."""
        interruption, lost = self.output.interruption, self._lost_workers
        is_interrupted = interruption is not None and interruption.requested
        if not processes.any_process(is_interrupted or lost is not None):
            return
        iteration, file = self.progress.iteration, self._last_checkpoint
        if iteration > 0 and self._latest_iteration != iteration:
            self._require_finite()
            file = self._save(is_best=False, is_saved=False, is_rolling=True)
        saved = f"its state is in '{file}'" if file else "there was nothing to save yet"
        where = f"after iteration {iteration} of {self.settings.runner.max_iters}; {saved}."
        where += f" Continue with: {self.output.command}"
        names = processes.gather_objects(interruption and interruption.signal_name)
        losses = list(filter(None, processes.gather_objects(lost and str(lost))))
        if losses:
            raise WorkerError(f"{losses[0]} The run ended {where}") from lost
        raise RunInterrupted(f"{next(filter(None, names))} ended the run {where}")

    def _require_finite(self) -> None:
        """Raise if what is about to be saved is worthless."""
        self.state.losses.means()
        require_finite(self.method.model, self.updates, self.progress.iteration)

    def _is_evaluation_due(self) -> bool:
        return bool(self.output.evaluator) and self._is_due(self.settings.evaluation.interval)

    def _is_due(self, interval: int | None) -> bool:
        """Tell whether `interval`, or the run, ends with the current iteration."""
        done = self.progress.iteration
        return done == self.settings.runner.max_iters or bool(interval and done % interval == 0)
