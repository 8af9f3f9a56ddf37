"""What changes during a run, and with it all that a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from mmseg.config.run_config import RunConfig
from mmseg.engine.checkpoint import CheckpointError, load_method, make_meta, saved_state
from mmseg.engine.checkpoint_folder import iteration_of
from mmseg.engine.logs import get_logger
from mmseg.engine.meters import LossMeter
from mmseg.engine.schedule import Schedule
from mmseg.engine.updates import Gradients, Updates
from mmseg.evaluation.collapse import ClassBest
from mmseg.system import processes
from mmseg.system.soundness import faults_in, tensors_in

NOT_COMPARED = {"params", "lr"}  # of a parameter group; the schedule sets the learning rate
# How an optimizer computes: it decides on which device torch restores the step counts.
KERNELS = ("fused", "foreach", "capturable")
CONSEQUENCES = {  # of what differs between a checkpoint and the run that continues from it
    "seed": "the run goes on with other samples and draws",
    "world_size": "the run goes on with other samples per iteration, without what waited for the "
    "next line of the log and the next step",
    "samples_per_gpu": "the run goes on with another batch size",
    "cumulative_iters": "the run goes on with another number of images per step, and gradients "
    "that waited for their step are dropped",
    "schedule": "from here on, the new schedule sets the learning rate",
    "scaler": "the run goes on in another precision",
}


@dataclass
class Progress:
    """How far a run is, and how good."""

    iteration: int = 0  # finished iterations
    best: dict[str, Any] | None = None  # record of the best evaluation
    last: dict[str, Any] | None = None  # record of the newest one
    class_best: ClassBest = field(default_factory=dict)  # class: [best IoU, after which iteration]


@dataclass
class RunState:
    """Everything that an interrupted run needs to continue as if nothing had happened.

    Samples and draws are functions of seed, iteration and process, so they have no state.
    """

    method: Any
    updates: Updates
    schedule: Schedule
    settings: RunConfig
    device: torch.device
    meta: Mapping[str, Any]
    progress: Progress = field(default_factory=Progress)
    losses: LossMeter = field(default_factory=LossMeter)

    def content(self) -> dict[str, Any]:
        """Return the content of a checkpoint; all processes have to call it."""
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
            "samples_per_gpu": settings.data.samples_per_gpu,
            "cumulative_iters": settings.updates.cumulative_iters,
            **gradients,
        }

    def restore(self, checkpoint: Mapping[str, Any], what: str) -> None:
        """Restore a checkpoint, called `what` in messages; `CheckpointError` if it does not fit."""
        load_method(self.method, checkpoint["state_dict"], what)
        self._restore_optimizers(checkpoint, what)
        done, records = iteration_of(checkpoint), checkpoint.get("progress") or {}
        best, last = records.get("best"), records.get("last")
        self.progress = Progress(done, best, last, records.get("class_best") or {})
        for warning in self._changes(checkpoint):
            get_logger().warning(f"The {what} {warning}")
        if checkpoint.get("world_size", 1) != processes.world_size():
            return
        # What belongs to this process alone: losses of the interval, gradients.
        rank = processes.rank()
        if losses := checkpoint.get("losses"):
            self.losses.load_state_dict(losses[rank], self.device)
        gradients: list[Gradients] = checkpoint.get("gradients") or []
        size = self.settings.updates.cumulative_iters
        if gradients and checkpoint.get("cumulative_iters") == size:
            self.updates.restore_gradients(gradients[rank])

    def _restore_optimizers(self, checkpoint: Mapping[str, Any], what: str) -> None:
        optimizer = self.updates.optimizer
        wanted = [dict(group) for group in optimizer.param_groups]
        restore_optimizer(optimizer, checkpoint, what)
        if changed := _keep_settings(wanted, optimizer.param_groups):
            get_logger().warning(
                f"The {what} was trained with other optimizer settings ({', '.join(changed)}); "
                "from here on, those of the config apply."
            )
        saved = checkpoint.get("own_optimizers") or {}
        for name, own in self.updates.own_optimizers.items():
            if name not in saved:
                raise CheckpointError(
                    f"expected the state of the optimizer {name!r} in the {what}, got "
                    f"{', '.join(saved) or 'none'}; resume with the config of the interrupted run."
                )
            restore_optimizer(own, {"optimizer": saved[name]}, f"{what} ({name})")
        if scale := checkpoint.get("scaler"):
            self.updates.precision.scaler.load_state_dict(dict(scale))

    def _changes(self, checkpoint: Mapping[str, Any]) -> list[str]:
        """Say what differs from the run that wrote a checkpoint, and what that means."""
        current = {
            "seed": self.settings.seed,
            "world_size": processes.world_size(),
            "samples_per_gpu": self.settings.data.samples_per_gpu,
            "cumulative_iters": self.settings.updates.cumulative_iters,
            "schedule": self.schedule.state_dict(),
            "scaler": bool(self.updates.precision.state_dict()),
        }
        stated = dict(checkpoint)
        if "iteration" in checkpoint:  # of this program, not of another one of the family
            stated["scaler"] = bool(checkpoint.get("scaler"))
        return [
            f"was trained with {name} {_text(stated[name])}; with {name} {_text(now)} "
            f"{CONSEQUENCES[name]}."
            for name, now in current.items()
            if name in stated and stated[name] != now
        ]


def restore_optimizer(
    optimizer: torch.optim.Optimizer, checkpoint: Mapping[str, Any], what: str
) -> None:
    """Restore the optimizer's state; `CheckpointError` without one, or with other parameters."""
    state = checkpoint.get("optimizer")
    if not state:
        raise CheckpointError(
            f"expected the optimizer's state in the {what}, got none; test it, or start a new run "
            "from it with --cfg-options load_from=PATH, instead of resuming."
        )
    ours = [len(group["params"]) for group in optimizer.param_groups]
    theirs = [len(group["params"]) for group in state.get("param_groups", ())]
    if ours != theirs:
        raise CheckpointError(
            f"expected the optimizer's state of {len(ours)} groups of {_sizes(ours)} parameters in "
            f"the {what}, got {len(theirs)} groups of {_sizes(theirs)}; resume with the config of "
            "the interrupted run, or start a new one with --cfg-options load_from=PATH."
        )
    _require_fitting(optimizer, state, what)
    groups = [
        {**saved, **{key: own[key] for key in KERNELS if key in own}}
        for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})


def _require_fitting(optimizer: torch.optim.Optimizer, state: Mapping[str, Any], what: str) -> None:
    """Raise `CheckpointError` unless each parameter's state has its shape, and is finite.

    Kernels that update many parameters at once trust the shapes, and would crash Python.
    """
    ours = [p for group in optimizer.param_groups for p in group["params"]]
    theirs = [number for group in state["param_groups"] for number in group["params"]]
    wrong = faults_in(state.get("state"), "state")
    for parameter, number in zip(ours, theirs, strict=True):
        for name, value in tensors_in((state.get("state") or {}).get(number), f"state.{number}"):
            if value.ndim and value.shape != parameter.shape:
                shapes = f"{tuple(value.shape)} instead of {tuple(parameter.shape)}"
                wrong.append(f"{name} ({shapes})")
    if wrong:
        raise CheckpointError(
            f"expected the optimizer's state of this network in the {what}, got {len(wrong)} wrong "
            f"tensor(s), the first {wrong[0]}. Resume from another checkpoint, or start a new run "
            "from it with --cfg-options load_from=PATH."
        )


def _sizes(counts: list[int]) -> str:
    return ", ".join(map(str, counts[:4])) + (", …" if len(counts) > 4 else "")


def _keep_settings(wanted: list[dict[str, Any]], restored: list[dict[str, Any]]) -> list[str]:
    """Reset parameter groups to what the config says, and name what the checkpoint had changed."""
    changed = set()
    for ours, theirs in zip(wanted, restored, strict=True):
        for key in ours.keys() - NOT_COMPARED:
            # A checkpoint may hold a tuple (Adam's betas) as a list.
            if key in theirs and _plain(theirs[key]) != _plain(ours[key]):
                changed.add(key)
            theirs[key] = ours[key]
    return sorted(changed)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k}={v}" for k, v in value.items()) + ")"
    return str(value)
