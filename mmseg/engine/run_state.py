"""What changes during a run, and with it all that a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from mmseg.engine.checkpoint import CheckpointError, load_method, make_meta, saved_state
from mmseg.engine.checkpoint_folder import iteration_of
from mmseg.engine.logs import get_logger
from mmseg.engine.meters import LossMeter
from mmseg.engine.resume import restore_optimizer
from mmseg.engine.schedule import Schedule
from mmseg.engine.settings import LoopSettings
from mmseg.engine.updates import Gradients, Updates
from mmseg.evaluation.collapse import ClassBest
from mmseg.system import processes

NOT_COMPARED = ("params", "lr")  # of a parameter group; the schedule sets the rate of an iteration


@dataclass
class Progress:
    """How far a run is, and how good."""

    iteration: int = 0  # finished iterations
    best: dict[str, Any] | None = None  # record of the best evaluation
    last: dict[str, Any] | None = None  # record of the newest one
    class_best: ClassBest = field(default_factory=dict)  # class: [best IoU, after which iteration]


@dataclass
class RunState:
    """Everything that an interrupted run needs to go on as if nothing had happened.

    Samples and draws are functions of seed, iteration and process, so they have no state.
    """

    method: Any
    updates: Updates
    schedule: Schedule
    settings: LoopSettings
    device: torch.device
    meta: Mapping[str, Any]
    progress: Progress = field(default_factory=Progress)
    losses: LossMeter = field(default_factory=LossMeter)

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds now; all processes have to call it."""
        iteration, settings = self.progress.iteration, self.settings
        pending = self.updates.pending_gradients(iteration)
        gradients = {} if pending is None else {"gradients": processes.gather_objects(pending)}
        return {
            "meta": make_meta(iteration=iteration, seed=settings.seed, **self.meta),
            "state_dict": saved_state(self.method),
            **self.updates.state_dict(),
            "schedule": self.schedule.state_dict(),
            "iteration": iteration,
            "seed": settings.seed,
            "progress": asdict(self.progress),
            "losses": processes.gather_objects(self.losses.state_dict()),
            "world_size": processes.world_size(),
            "samples_per_gpu": settings.samples_per_gpu,
            "cumulative_iters": settings.cumulative_iters,
            **gradients,
        }

    def restore(self, checkpoint: Mapping[str, Any], what: str) -> None:
        """Take over the content of a checkpoint.

        Args:
            checkpoint: its content.
            what: how messages call it.

        Raises:
            CheckpointError: if it does not fit this run.
        """
        load_method(self.method, checkpoint["state_dict"], what)
        self._restore_optimizers(checkpoint, what)
        records = checkpoint.get("progress") or {}
        self.progress = Progress(
            iteration_of(checkpoint),
            records.get("best"),
            records.get("last"),
            records.get("class_best") or {},
        )
        for warning in self._changes(checkpoint):
            get_logger().warning(f"The {what} {warning}")
        if checkpoint.get("world_size", 1) == processes.world_size():
            self._restore_own_part(checkpoint)

    def _restore_optimizers(self, checkpoint: Mapping[str, Any], what: str) -> None:
        """Restore the state of all optimizers, and the scale of the loss."""
        optimizer = self.updates.optimizer
        asked = [dict(group) for group in optimizer.param_groups]
        restore_optimizer(optimizer, checkpoint, what)
        if changed := _keep_settings(asked, optimizer.param_groups):
            get_logger().warning(
                f"The {what} was trained with other optimizer settings ({', '.join(changed)}); "
                "from here on those of the config hold."
            )
        saved = checkpoint.get("own_optimizers") or {}
        for name, own in self.updates.own_optimizers.items():
            if name not in saved:
                raise CheckpointError(
                    f"expected the state of the optimizer {name!r} in the {what}, got "
                    f"{', '.join(saved) or 'none'}; resume with the config of the interrupted run."
                )
            restore_optimizer(own, {"optimizer": saved[name]}, f"{what} ({name})")
        self.updates.precision.load_state_dict(checkpoint.get("scaler") or {})

    def _restore_own_part(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore what each process has of its own: losses of the interval, gradients."""
        rank = processes.rank()
        if losses := checkpoint.get("losses"):
            self.losses.load_state_dict(losses[rank], self.device)
        gradients: list[Gradients] = checkpoint.get("gradients") or []
        if gradients and checkpoint.get("cumulative_iters") == self.settings.cumulative_iters:
            self.updates.restore_gradients(gradients[rank])

    def _changes(self, checkpoint: Mapping[str, Any]) -> list[str]:
        """Say what differs from the run that wrote a checkpoint, and what that means."""
        settings = self.settings
        facts = {
            "seed": (settings.seed, "the run goes on with other samples and draws"),
            "world_size": (
                processes.world_size(),
                "the run goes on with other samples per iteration, without what waited for the "
                "next line of the log and the next step",
            ),
            "samples_per_gpu": (
                settings.samples_per_gpu, "the run goes on with another batch size"
            ),
            "cumulative_iters": (
                settings.cumulative_iters,
                "the run goes on with another number of images per step, and gradients that "
                "waited for their step are dropped",
            ),
            "schedule": (
                self.schedule.state_dict(),
                "from here on the learning rate is what the new schedule gives at this iteration",
            ),
            "scaler": (
                bool(self.updates.precision.state_dict()),
                "the run goes on in another precision",
            ),
        }  # fmt: skip
        stated = dict(checkpoint)
        if "iteration" in checkpoint:  # of this program, not of another one of the family
            stated["scaler"] = bool(checkpoint.get("scaler"))
        return [
            f"was trained with {name} {_shown(stated[name])}; with {name} {_shown(now)} {meaning}."
            for name, (now, meaning) in facts.items()
            if name in stated and stated[name] != now
        ]


def require_finite_weights(network: nn.Module, iteration: int) -> None:
    """Raise unless all parameters are finite (reads the device once).

    A finite loss can be followed by a step along gradients that were not finite.

    Raises:
        FloatingPointError: naming the first parameter that is not.
    """
    named = list(network.named_parameters())
    if not named:
        return
    is_finite = torch.stack([p.detach().isfinite().all() for _, p in named]).tolist()
    bad = [name for (name, _), is_good in zip(named, is_finite, strict=True) if not is_good]
    if bad:
        raise FloatingPointError(
            f"expected finite weights, got {len(bad)} of {len(named)} parameters with NaN or "
            f"infinite values after iteration {iteration}, the first {bad[0]}"
        )


def _keep_settings(asked: list[dict[str, Any]], restored: list[dict[str, Any]]) -> list[str]:
    """Give parameter groups back what the config asks for, and name what a checkpoint changed."""
    changed = set()
    for ours, theirs in zip(asked, restored, strict=True):
        for key in ours.keys() - set(NOT_COMPARED):
            if key in theirs and _plain(theirs[key]) != _plain(ours[key]):
                changed.add(key)
            theirs[key] = ours[key]
    return sorted(changed)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    """Write a value for a message."""
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k}={v}" for k, v in value.items()) + ")"
    return str(value)
