"""A training method and datasets small enough to follow by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from mmseg.config import Config
from mmseg.config.run_config import RunConfig, read_run
from mmseg.config.sections import PrecisionConfig
from mmseg.engine.evaluator import Evaluator
from mmseg.engine.optimizer import build_optimizer
from mmseg.engine.schedule import Schedule
from mmseg.engine.trainer import RunOutput, Trainer
from mmseg.models.uda.base import StepOutput, unscaled

POLY = {"policy": "poly", "power": 1.0, "min_lr": 0.0}
META = {"cfg_text": "name = 'x'\n", "classes": ("low", "high"), "palette": [[1, 2, 3]]}


class NoCopies(torch.overrides.TorchFunctionMode):
    """Refuses what would copy from a GPU and wait for it."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        assert name not in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu"), name
        return function(*args, **(kwargs or {}))


class Threshold(nn.Module):
    """Labels a pixel 1 where it exceeds the weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward_test(self, images: list[torch.Tensor], metas: list[Any]) -> list[np.ndarray]:
        assert not self.training
        return list((images[0][:, 0] > self.weight).long().numpy())


class Line(nn.Module):
    """Moves the student's weight along a gradient of 1 + the batch's mean + noise of the draws."""

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__()
        self.model, self.ema_model = Threshold(weight), Threshold(-1.0).requires_grad_(False)
        self.imnet_model = nn.Linear(1, 1).requires_grad_(False)
        self.seen: list[tuple[int, float]] = []
        self.bad_iteration = self.bad_gradient_iteration = -1
        self.scale_loss: Any = unscaled
        self.on_iteration: Any = lambda iteration: None

    def trainable_parameters(self) -> Any:
        return self.model.parameters()

    def make_draws(self, iteration: int, rank: int = 0, seed: int = 0) -> np.random.Generator:
        return np.random.default_rng((seed, iteration, rank))

    def describe(self) -> list[str]:
        return ["Method: a line"]

    def accumulate_gradients(self, batch: Any, iteration: int, draws: Any) -> StepOutput:
        self.on_iteration(iteration)
        self.seen.append((iteration, float(batch["img"].mean())))
        slope = 1 + batch["img"].mean() + draws.random()
        output = StepOutput(scale_loss=self.scale_loss)
        output.backward({"decode.loss_seg": (slope * self.model.weight).sum()})
        with torch.no_grad():
            self.ema_model.weight.lerp_(self.model.weight, 0.5)
        if iteration == self.bad_iteration:
            output.losses["decode.loss_seg"] *= float("nan")
        if iteration == self.bad_gradient_iteration:
            self.model.weight.grad.fill_(float("nan"))
        return output


class Rivals(Line):
    """A line with a second network, which its own optimizer moves up by the same slope."""

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__(weight)
        self.rival = Threshold(0.5)
        self.rival_optimizer = torch.optim.SGD(self.rival.parameters(), lr=0.25, momentum=0.5)

    def own_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"rival": self.rival_optimizer}

    def accumulate_gradients(self, batch: Any, iteration: int, draws: Any) -> StepOutput:
        output = super().accumulate_gradients(batch, iteration, draws)
        slope = 1 + batch["img"].mean()
        output.backward({"loss.rival": -(slope * self.rival.weight).sum()})
        return output


class Gradient:
    """Images of 5×7 pixels with values 0 … 1 from left to right; label 1 where above 0.5."""

    CLASSES = ("low", "high")
    PALETTE = [[0, 0, 0], [255, 255, 255]]
    ignore_index = 255

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.linspace(0, 1, 7).expand(3, 5, 7).clone()
        return {"img": [image], "img_metas": [{"ori_shape": (5, 7, 3)}]}

    def gt_label(self, index: int) -> np.ndarray:
        return np.tile(np.linspace(0, 1, 7) > 0.5, (5, 1)).astype(np.uint8)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"img": torch.full((3, 2, 2), float(rng.random())), "img_metas": {}}


def batches(start: int, stop: int) -> list[dict[str, Any]]:
    return [
        {"img": torch.full((1, 3, 2, 2), t / 100), "img_metas": [{}]} for t in range(start, stop)
    ]


PLACES = {
    "max_iters": "runner.max_iters",
    "log_interval": "log_config.interval",
    "checkpoint_interval": "checkpoint_config.interval",
    "resume_interval": "checkpoint_config.resume_interval",
    "max_keep_checkpoints": "checkpoint_config.max_keep_ckpts",
    "evaluation_interval": "evaluation.interval",
    "grad_clip": "optimizer_config.grad_clip",
    "cumulative_iters": "optimizer_config.cumulative_iters",
    "samples_per_gpu": "data.samples_per_gpu",
    "seed": "seed",
}


FULL = PrecisionConfig()


def run_config(precision: PrecisionConfig = FULL, **settings: Any) -> RunConfig:
    """Return a run of 6 iterations, with the settings of `PLACES`."""
    cfg = Config({"runner": {}, "log_config": {}, "data": {}, "lr_config": POLY})
    settings = {"max_iters": 6, "seed": 3, "log_interval": 4, **settings}
    cfg.merge_options({PLACES[name]: value for name, value in settings.items()})
    return replace(read_run(cfg), precision=precision)


def make_trainer(work_dir: Any, method: Line, interruption: Any = None, **settings: Any) -> Trainer:
    run = run_config(**settings)
    optimizer = build_optimizer(method, {"type": "AdamW", "lr": 0.1, "weight_decay": 0.01})
    evaluates = settings.get("evaluation_interval", 0) > 0
    return Trainer(
        method,
        optimizer,
        Schedule(run.schedule, run.runner.max_iters),
        run,
        RunOutput(
            work_dir,
            evaluator=Evaluator(Gradient(3)) if evaluates else None,
            meta=META,
            interruption=interruption,
        ),
    )
