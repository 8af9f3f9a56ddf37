"""What all training methods share: the contract with the engine, the batch, the output of a step.

Legend: B images, C classes, H×W pixels.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.config.registry import SEGMENTORS, UDA
from mmseg.datasets.byte_maps import widened
from mmseg.datasets.pipelines.photometric import IMAGENET
from mmseg.models.losses import is_loss
from mmseg.models.uda.draws import Draws
from mmseg.models.uda.mixing import Normalization
from mmseg.system.errors import ConfigError
from mmseg.system.gradient_averaging import average_gradients
from mmseg.system.processes import rank

DEFAULT_PICTURE_INTERVAL = 1000
Metas = list[dict[str, Any]]


@dataclass(frozen=True)
class UDABatch:
    """A batch of labeled source and unlabeled target images, which nothing changes in place."""

    image: Tensor  # (B, 3, H, W) normalized source
    metas: Metas
    label: Tensor  # (B, 1, H, W) int64 source label
    target_image: Tensor  # (B, 3, H, W) normalized
    target_metas: Metas
    target_depth: Tensor | None  # (B, H, W) depth bins
    valid_pseudo_mask: Tensor | None  # (B, 1, H, W) of 0/1

    @classmethod
    def from_loader(cls, batch: Mapping[str, Any]) -> "UDABatch":
        """Take the batch from the loader's dictionary."""
        if missing := [k for k in ("target_img", "img", "gt_semantic_seg") if k not in batch]:
            raise ConfigError(
                f"expected source and target images in a batch, got no {missing[0]!r}. "
                "Set data.train to a UDADataset for this training method."
            )
        batch = widened(batch)
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
        meta = self.metas[0] if self.metas else {}
        return Normalization.of(meta.get("img_norm_cfg", IMAGENET))


def unscaled(loss: Tensor) -> Tensor:
    """Return the loss as it is: full precision needs no scaling."""
    return loss


@contextmanager
def summed_gradients(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let a backward pass write gradients of its own, and add them to the former ones at once.

    By itself, autograd adds the gradient of each parameter on its own: one kernel for each.
    """
    former = [(p, p.grad) for p in parameters if p.grad is not None]
    for parameter, _ in former:
        parameter.grad = None
    try:
        yield
    finally:
        both = [(total, p.grad) for p, total in former if p.grad is not None]
        if both:
            sums, new = map(list, zip(*both, strict=True))
            torch._foreach_add_(sums, new)  # pyright: ignore[reportPrivateImportUsage]
        for parameter, total in former:
            parameter.grad = total


@dataclass
class StepOutput:
    """The output of one iteration: detached 0-dim values to log, and pictures if they are due."""

    losses: dict[str, Tensor] = field(default_factory=dict)
    pictures: dict[str, Any] | None = None
    scale_loss: Callable[[Tensor], Tensor] = unscaled  # for back-propagation, not for the log
    parameters: Sequence[nn.Parameter] = ()  # whose gradients are summed in few kernels

    def backward(self, losses: Mapping[str, Tensor], prefix: str = "") -> None:
        """Back-propagate the sum of the losses (see `is_loss`), and log all values."""
        total = sum((v for k, v in losses.items() if is_loss(k)), torch.tensor(0.0))
        device = total.device.type
        with torch.autocast(device, enabled=False), summed_gradients(self.parameters):
            self.scale_loss(total).backward()  # only forward passes use autocast
        self.log({prefix + key: value for key, value in losses.items()})

    def log(self, values: Mapping[str, Tensor]) -> None:
        """Log values without training on them."""
        self.losses.update({key: value.detach() for key, value in values.items()})

    def show(self, **pictures: Any) -> None:
        """Keep tensors for the debug panel if one is due."""
        if self.pictures is not None:
            kept = {k: v.detach() if isinstance(v, Tensor) else v for k, v in pictures.items()}
            self.pictures.update(kept)

    def show_prediction(self, losses: dict[str, Any], phase: str) -> None:
        """Move what `return_logits` added to the losses to the debug panel, prefixed by `phase`."""
        logits = losses.pop("decode.logits", None)  # (B, C, h, w)
        for key in [key for key in losses if key.endswith(".logits")]:
            del losses[key]  # of auxiliary heads
        pictures = losses.pop("decode.pictures", {})
        if logits is not None:
            pictures = {"prediction": logits.detach().argmax(1), **pictures}
        self.show(**{f"{phase}_{name}": value for name, value in pictures.items()})


@dataclass(frozen=True)
class Step:
    """One iteration, shared by its phases."""

    data: UDABatch
    iteration: int
    draws: Draws
    output: StepOutput  # changes, as does
    views: dict[str, Tensor] = field(default_factory=dict)  # of images that several phases see


class TrainingMethod(nn.Module, ABC):
    """A way to train a segmentor. Its `model`, the student, is both trained and evaluated.

    Pictures are due every `model.train_cfg.log_config.img_interval` iterations (0: never).
    `max_iters` is the length of the run, for methods that need it.
    """

    def __init__(self, model: Mapping[str, Any], max_iters: int | None = None) -> None:
        super().__init__()
        self.model = SEGMENTORS.build(model)
        log_config = (model.get("train_cfg") or {}).get("log_config") or {}
        self.picture_interval = log_config.get("img_interval", DEFAULT_PICTURE_INTERVAL)
        self.scale_loss: Callable[[Tensor], Tensor] = unscaled  # set by the engine

    @classmethod
    def reads_depth(cls, section: Mapping[str, Any]) -> bool:
        """Tell whether the method that a `uda` section describes uses depth maps of its batches."""
        return True

    @abstractmethod
    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of one iteration to the student's, without an optimizer step.

        All back-propagation goes through `StepOutput.backward` of `start_output(iteration)`.
        """

    @abstractmethod
    def describe(self) -> list[str]:
        """Return a few lines for the head of the log that tell which method runs."""

    def make_draws(self, iteration: int, rank: int = 0, seed: int = 0) -> Draws:
        """Return the random choices of an iteration."""
        device = next(self.model.parameters()).device
        return Draws(seed, iteration, rank, self.model.num_classes, device)

    def trainable_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters that the optimizer trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def own_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers of networks other than the student, always the same objects.

        The engine clears, steps and saves them, and averages their gradients over processes, along
        with the student's. The method itself sets their learning rates from the iteration.
        """
        return {}

    def prepare_autocast(self, dtype: torch.dtype) -> None:
        """Make networks that never learn ready for forward passes under autocast to `dtype`."""

    def train_step(
        self,
        batch: Mapping[str, Any],
        optimizer: torch.optim.Optimizer,
        iteration: int,
        draws: Draws | None = None,
    ) -> dict[str, float]:
        """Run one whole iteration and return the logged values."""
        optimizers = [optimizer, *self.own_optimizers().values()]
        for each in optimizers:
            each.zero_grad(set_to_none=True)
        draws = draws or self.make_draws(iteration, rank())
        output = self.accumulate_gradients(batch, iteration, draws)
        groups = [group for each in optimizers for group in each.param_groups]
        average_gradients([p for group in groups for p in group["params"]])
        for each in optimizers:
            each.step()
        return {key: float(value) for key, value in output.losses.items()}

    def init_weights(self) -> None:
        """Initialize the student, from its pretrained weights if the config names a file."""
        self.model.init_weights()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the student."""
        return self.model(*args, **kwargs)

    def start_output(self, iteration: int) -> StepOutput:
        """Return an empty output that keeps pictures if they are due at this iteration."""
        is_due = self.picture_interval > 0 and iteration % self.picture_interval == 0
        groups = [group for own in self.own_optimizers().values() for group in own.param_groups]
        trained = [*self.trainable_parameters(), *(p for g in groups for p in g["params"])]
        return StepOutput({}, {} if is_due else None, self.scale_loss, trained)


def build_twin(model: Mapping[str, Any]) -> Any:
    """Build another network like the student, which never gets gradients."""
    return SEGMENTORS.build(copy.deepcopy(model)).requires_grad_(False)


@UDA.register()
class Supervised(TrainingMethod):
    """Train on labeled images alone (a config without `uda`)."""

    @classmethod
    def reads_depth(cls, section: Mapping[str, Any]) -> bool:
        """Return False."""
        return False

    def describe(self) -> list[str]:
        """Return the line for the head of the log."""
        return ["Method: supervised training on the labeled images alone (no uda section)"]

    def accumulate_gradients(
        self, batch: Mapping[str, Any], iteration: int, draws: Draws
    ) -> StepOutput:
        """Add the gradients of the cross-entropy on one labeled batch."""
        if "target_img" in batch:
            raise ConfigError(
                "expected labeled images only, got a UDADataset without a uda section. "
                "Add one, or set data.train to the source dataset."
            )
        torch.manual_seed(draws.torch_seed())
        output, batch = self.start_output(iteration), widened(batch)
        losses = self.model.forward_train(
            batch["img"], batch.get("img_metas", []), batch["gt_semantic_seg"], draws=draws
        )
        output.backward(losses)
        output.show(source_image=batch["img"], source_label=batch["gt_semantic_seg"][:, 0])
        return output
