"""What every training method shares: its contract with the engine, its batch, its bookkeeping.

Legend: B images, C classes, H×W pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import SEGMENTORS, UDA
from mmseg.datasets.pipelines.photometric import IMAGENET
from mmseg.models.uda.draws import Draws
from mmseg.models.uda.mixing import Normalization
from mmseg.system.errors import ConfigError
from mmseg.system.processes import rank, reduce_gradients

DEFAULT_PICTURE_INTERVAL = 1000
Metas = list[dict[str, Any]]


@dataclass(frozen=True)
class UDABatch:
    """A batch of labeled source and unlabeled target images; never changed in place."""

    image: Tensor  # (B, 3, H, W) normalized source
    metas: Metas
    label: Tensor  # (B, 1, H, W) int64 source label
    target_image: Tensor  # (B, 3, H, W) normalized
    target_metas: Metas
    target_depth: Tensor | None  # (B, H, W) depth bins
    valid_pseudo_mask: Tensor | None  # (B, 1, H, W) of 0/1

    @classmethod
    def from_loader(cls, batch: Mapping[str, Any]) -> "UDABatch":
        """Name the parts of the loader's dictionary."""
        missing = [k for k in ("target_img", "img", "gt_semantic_seg") if k not in batch]
        if missing:
            raise ConfigError(
                f"expected source and target images in a batch, got no {missing[0]!r}; "
                "data.train must be a UDADataset for this training method."
            )
        return cls(
            image=batch["img"],
            metas=batch.get("img_metas", []),
            label=batch["gt_semantic_seg"],
            target_image=batch["target_img"],
            target_metas=batch.get("target_img_metas", []),
            target_depth=batch.get("target_depth"),
            valid_pseudo_mask=batch.get("valid_pseudo_mask"),
        )

    def normalization(self) -> Normalization:
        """Return how the source images were normalized (ImageNet's constants unless stated)."""
        stated = self.metas[0].get("img_norm_cfg", IMAGENET) if self.metas else IMAGENET
        return Normalization.of(stated)


def unscaled(loss: Tensor) -> Tensor:
    """Return the loss itself: full precision needs no scale."""
    return loss


@dataclass
class StepOutput:
    """What one iteration leaves: detached 0-dim values to log, and pictures if they were due."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    pictures: dict[str, Any] | None = None
    scale_loss: Callable[[Tensor], Tensor] = unscaled  # before back-propagation, never in the log

    def backward(self, losses: Mapping[str, Tensor], prefix: str = "") -> None:
        """Back-propagate the sum of the entries called `loss`, and log all of them."""
        total = sum((v for k, v in losses.items() if "loss" in k), torch.tensor(0.0))
        with torch.autocast(total.device.type, enabled=False):  # it is for forward passes only
            self.scale_loss(total).backward()
        self.log({prefix + key: value for key, value in losses.items()})

    def log(self, values: Mapping[str, Tensor]) -> None:
        """Log values without training on them."""
        self.losses.update({key: value.detach() for key, value in values.items()})

    def show(self, **pictures: Any) -> None:
        """Keep tensors for the debug panel, if one is due."""
        if self.pictures is not None:
            kept = {k: v.detach() if isinstance(v, Tensor) else v for k, v in pictures.items()}
            self.pictures.update(kept)

    def show_prediction(self, losses: dict[str, Any], phase: str) -> None:
        """Move what `return_logits` added out of the losses, and keep it for the debug panel.

        Args:
            losses: of `forward_train`; loses `decode.logits` (B, C, h, w) and `decode.pictures`.
            phase: what the names in the panel begin with.
        """
        logits = losses.pop("decode.logits", None)
        if logits is not None:
            self.show(**{f"{phase}_prediction": logits.detach().argmax(1)})
        pictures: Mapping[str, Any] = losses.pop("decode.pictures", {})
        self.show(**{f"{phase}_{name}": value for name, value in pictures.items()})


@dataclass(frozen=True)
class Step:
    """One iteration, as its phases see it."""

    data: UDABatch
    iteration: int
    draws: Draws
    output: StepOutput  # the only part that changes


class TrainingMethod(nn.Module, ABC):
    """A way to train a segmentor. `model` is the student: it is trained and it is evaluated.

    Args:
        model: config of the segmentor; `model.train_cfg.log_config.img_interval` says how often
            pictures are due.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = SEGMENTORS.build(model)
        log_config = (model.get("train_cfg") or {}).get("log_config") or {}
        self.picture_interval = log_config.get("img_interval", DEFAULT_PICTURE_INTERVAL)
        self.scale_loss: Callable[[Tensor], Tensor] = unscaled  # the engine's, in half precision

    @abstractmethod
    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of one iteration to the student's; the optimizer is not touched.

        All back-propagation goes through `StepOutput.backward` of `start_output(iteration)`.
        """

    @abstractmethod
    def describe(self) -> list[str]:
        """Say in a few lines which method runs, for the head of the log."""

    def make_draws(self, iteration: int, rank: int = 0, seed: int = 0) -> Draws:
        """Return the random choices of an iteration."""
        draws = Draws(seed, iteration, rank, self.model.num_classes)
        draws.device = next(self.model.parameters()).device
        return draws

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Return what the optimizer trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def own_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers of networks beside the student, the same objects in every call.

        The engine clears, reduces, steps and saves them together with the student's optimizer. The
        method sets their learning rates itself, as a function of the iteration.
        """
        return {}

    def train_step(
        self,
        batch: Mapping[str, Any],
        optimizer: torch.optim.Optimizer,
        iteration: int,
        draws: Draws | None = None,
    ) -> dict[str, float]:
        """Do one whole iteration and return the logged values."""
        optimizers = [optimizer, *self.own_optimizers().values()]
        for each in optimizers:
            each.zero_grad(set_to_none=True)
        draws = self.make_draws(iteration, rank()) if draws is None else draws
        output = self.accumulate_gradients(batch, iteration, draws)
        groups = [group for each in optimizers for group in each.param_groups]
        reduce_gradients([p for group in groups for p in group["params"]])
        for each in optimizers:
            each.step()
        return {key: float(value) for key, value in output.losses.items()}

    def init_weights(self) -> None:
        """Initialize the student, from its pre-trained file if it names one."""
        self.model.init_weights()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the student."""
        return self.model(*args, **kwargs)

    def start_output(self, iteration: int) -> StepOutput:
        """Return an empty output that keeps pictures if they are due at this iteration."""
        is_due = iteration % self.picture_interval == 0
        return StepOutput(pictures={} if is_due else None, scale_loss=self.scale_loss)


@UDA.register()
class Supervised(TrainingMethod):
    """Train on labeled images alone (a config without `uda`).

    Args:
        model: config of the segmentor.
        max_iters: unused; every method is told.
    """

    def __init__(self, model: Mapping[str, Any], max_iters: int | None = None) -> None:
        super().__init__(model)

    def describe(self) -> list[str]:
        """Say which method runs."""
        return ["Method: supervised training on the labeled images alone (no uda section)"]

    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of the cross-entropy on one labeled batch."""
        if "target_img" in batch:
            raise ConfigError(
                "expected labeled images only, got a UDADataset without a uda section; "
                "add one, or set data.train to the source dataset."
            )
        torch.manual_seed(draws.torch_seed())
        output = self.start_output(iteration)
        losses = self.model.forward_train(
            batch["img"], batch.get("img_metas", []), batch["gt_semantic_seg"], draws=draws
        )
        output.backward(losses)
        output.show(source_image=batch["img"], source_label=batch["gt_semantic_seg"][:, 0])
        return output
