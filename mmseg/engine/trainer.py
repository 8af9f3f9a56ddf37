"""The training loop.

One iteration: gradients gather in the method's backward passes, are averaged over the processes
once, and every optimizer steps once. The loop knows nothing of what the method computes.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.checkpoint_folder import LATEST, CheckpointFolder
from mmseg.engine.evaluator import Evaluator, note_collapse, write_results
from mmseg.engine.full_memory import explains_full_step
from mmseg.engine.logs import get_logger
from mmseg.engine.meters import StepClock, memory_in_use
from mmseg.engine.precision import Precision
from mmseg.engine.run_state import Progress, RunState, require_finite_weights
from mmseg.engine.schedule import Schedule
from mmseg.engine.settings import LoopSettings
from mmseg.engine.trackers import Tracker, log_train_record
from mmseg.engine.updates import Updates
from mmseg.system import processes
from mmseg.system.interruption import Interruption, RunInterrupted


@dataclass(frozen=True)
class RunOutput:
    """Where the results of a run go, and what ends it early.

    `meta` is for checkpoints: config text, classes, palette and further plain values.
    """

    work_dir: str | Path
    trackers: Iterable[Tracker] = ()
    evaluator: Evaluator | None = None  # None trains without evaluation
    meta: Mapping[str, Any] = field(default_factory=dict)
    interruption: Interruption | None = None  # None lets signals do what they do
    command: str = "the same command with --resume auto"  # that continues an interrupted run


class Trainer:
    """Runs a training method from its current iteration to the last one.

    Args:
        method: accumulates gradients; `method.model` is the student, which is evaluated.
        optimizer: of the student.
        schedule: of the learning rate.
        settings: intervals, lengths and precision.
        output: work folder, trackers, evaluation and interruption.
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
        self.output = output
        self.work_dir = Path(output.work_dir)
        self.trackers = list(output.trackers)
        self.folder = CheckpointFolder(self.work_dir, settings.max_keep_checkpoints)
        self.device = next(method.parameters()).device
        self.precision = Precision(settings.precision, self.device)
        self.method.scale_loss = self.precision.scale_loss
        self.updates = Updates(method, optimizer, settings, self.precision)
        meta = {"cfg_text": "", "classes": None, "palette": None, **output.meta}
        self.state = RunState(method, self.updates, schedule, settings, self.device, meta)
        self._last_good: Path | None = None  # the newest checkpoint that this run knows of
        self._latest_iteration = -1  # of `latest.pth`, as far as this run has written or read it

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.state.progress

    def run(self, loader: Iterable[Mapping[str, Any]]) -> Progress:
        """Train on the batches of `loader`, which starts at the current iteration.

        Raises:
            RunInterrupted: after a signal, when the run is saved.
            FloatingPointError, FullMemoryError: losses or weights are not finite; memory is full.
        """
        self.method.train()
        clock = StepClock(self.progress.iteration, self.settings.max_iters)
        batches = None
        try:
            self._complete_restored_iteration(clock)
            batches = iter(loader)
            for batch in batches:
                clock.data_is_here()
                with explains_full_step(batch, self.device, self.settings):
                    self.step(to_device(batch, self.device))
                self._log(clock)
                self._evaluate_and_save(clock, self._is_evaluation_due())
                self._stop_if_interrupted()
                clock.step_is_done()
        finally:
            if isinstance(batches, Generator):
                batches.close()  # ends the loader's workers, also while an error is on its way
            for tracker in self.trackers:
                tracker.close()
        return self.progress

    def step(self, batch: Mapping[str, Any]) -> None:
        """Train on one batch."""
        iteration = self.progress.iteration
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

            write_debug_panels(output.pictures, self.work_dir / "debug", iteration)

    def resume(self, path: str | Path) -> None:
        """Continue the run that wrote a checkpoint.

        Raises:
            CheckpointError: if it does not fit this run.
        """
        path = Path(path)
        self.state.restore(read_checkpoint(path), f"checkpoint {str(path)!r}")
        iteration, self._last_good = self.progress.iteration, path
        if path.absolute() == (self.work_dir / LATEST).absolute():
            self._latest_iteration = iteration
        get_logger().info(f"Resumed from {path} after iteration {iteration}.")

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds now; all processes have to call it."""
        return self.state.content()

    def evaluate(self, is_saved: bool = False) -> bool:
        """Evaluate the student, log and keep the result, and tell whether it is the best so far.

        A signal ends it without a result.

        Args:
            is_saved: whether a checkpoint of this iteration is about to be written.
        """
        evaluator, interruption = self.output.evaluator, self.output.interruption
        assert evaluator is not None
        iteration, best = self.progress.iteration, self.progress.best
        name = f"iter_{iteration}.pth"
        processes.broadcast_buffers(self.method.model)
        evaluation = evaluator(
            self.method.model,
            should_stop=interruption and (lambda: interruption.requested),
            checkpoint=name if is_saved else None,
            iteration=iteration,
        )
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
        """Write a line of the log at its interval and after the last iteration."""
        if not self._is_due(self.settings.log_interval):
            return
        iteration, scale = self.progress.iteration, self.precision.scale()
        means = self._finite_losses()
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
            log_train_record(self.trackers, record, self.settings.max_iters, clock.eta(iteration))

    def _complete_restored_iteration(self, clock: StepClock) -> None:
        """Do what the interrupted run had left to do after its last iteration.

        It may have been stopped before or during an evaluation, or between two files.
        """
        iteration, last = self.progress.iteration, self.progress.last
        is_missing = self._is_evaluation_due() and (last or {}).get("iteration") != iteration
        if iteration > 0 and (is_missing or self._latest_iteration != iteration):
            self._evaluate_and_save(clock, is_missing)
        self._stop_if_interrupted()

    def _evaluate_and_save(self, clock: StepClock, is_evaluated: bool) -> None:
        """Evaluate, and write the checkpoints that are due after this iteration.

        The best comes first, so that no moment to be killed at loses it, and `latest.pth` last.
        """
        is_saved = self._is_due(self.settings.checkpoint_interval)
        interval = self.settings.resume_interval
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
        self._last_good = file = processes.broadcast_object(file)
        return file

    def _stop_if_interrupted(self) -> None:
        """After a signal to any process: save, and end the run on all of them."""
        interruption = self.output.interruption
        is_requested = interruption is not None and interruption.requested
        if not processes.any_process(is_requested):
            return
        iteration, file = self.progress.iteration, self._last_good
        if iteration > 0 and self._latest_iteration != iteration:
            self._require_finite()
            file = self._save(is_best=False, is_saved=False, is_rolling=True)
        names = processes.gather_objects(interruption and interruption.signal_name)
        saved = f"its state is in '{file}'" if file else "there was nothing to save yet"
        raise RunInterrupted(
            f"{next(filter(None, names))} ended the run after iteration {iteration} of "
            f"{self.settings.max_iters}; {saved}. Continue with: {self.output.command}"
        )

    def _require_finite(self) -> None:
        """Raise if what is about to be saved is worthless."""
        self._finite_losses()
        with self._names_good_checkpoint():
            require_finite_weights(self.method.model, self.progress.iteration)

    def _finite_losses(self) -> dict[str, float]:
        """Return the mean losses since the last line of the log."""
        with self._names_good_checkpoint():
            return self.state.losses.means()

    @contextmanager
    def _names_good_checkpoint(self) -> Iterator[None]:
        """Add to the error of a run that diverged what can be done."""
        try:
            yield
        except FloatingPointError as error:
            good = self._last_good
            start = f"resume from '{good}', which was written before" if good else "start again"
            raise FloatingPointError(
                f"{error}; look at the data or lower the learning rate, and {start}."
            ) from error

    def _is_evaluation_due(self) -> bool:
        return bool(self.output.evaluator) and self._is_due(self.settings.evaluation_interval)

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
