"""Adversarial training on outputs (AdvSeg, Tsai et al. 2018).

A discriminator tells the student's predictions on the source (0) from those on the target (1); the
student learns predictions on the target that it takes for the source's.

Legend: B images, C classes, H×W pixels.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.config.registry import UDA
from mmseg.models.layers import at_least_single
from mmseg.models.uda.base import Step
from mmseg.models.uda.output_alignment import OutputAlignment, Outputs
from mmseg.models.uda.settings import AdvSegSettings
from mmseg.system.errors import ConfigError

SOURCE, TARGET = 0.0, 1.0
WIDTHS = (64, 128, 256, 512)
SMALLEST = 2 ** (len(WIDTHS) + 1)  # pixels of a side, which every layer halves
BETAS = (0.9, 0.99)
LOSSES = {"LS": F.mse_loss, "Vanilla": F.binary_cross_entropy_with_logits}


class Discriminator(nn.Module):
    """Judge probabilities (B, C, H, W) in patches: (B, 1, H/32, W/32), high for the target."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        channels = (num_classes, *WIDTHS)
        for i, width in enumerate(WIDTHS):
            self.add_module(f"conv{i + 1}", nn.Conv2d(channels[i], width, 4, stride=2, padding=1))
        self.classifier = nn.Conv2d(WIDTHS[-1], 1, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the loss is computed from: no probabilities yet."""
        if min(x.shape[2:]) < SMALLEST:
            raise ConfigError(
                f"expected outputs of at least {SMALLEST}x{SMALLEST} pixels for AdvSeg's "
                f"discriminator, got {x.shape[3]}x{x.shape[2]}. Train on larger crops."
            )
        for i in range(len(WIDTHS)):
            x = F.leaky_relu(self.get_submodule(f"conv{i + 1}")(x), 0.2)
        return self.classifier(x)


@UDA.register(inert=("debug_img_interval",))
class AdvSeg(OutputAlignment):
    """Deceive a discriminator about the domain of the outputs; there is one for each output.

    `model_D` holds the discriminators. Each is trained by an optimizer of its own, with a rate that
    falls with the iteration. The keys of its config are those of `AdvSegSettings`.
    """

    settings_class = AdvSegSettings
    compares_source = True

    def __init__(
        self, model: Mapping[str, Any], max_iters: int | None = None, **settings: Any
    ) -> None:
        super().__init__(model, max_iters, **settings)
        self.max_iters = max_iters
        self.loss = LOSSES[self.settings.discriminator_type]
        networks = {name: Discriminator(self.model.num_classes) for name in self.outputs}
        self.model_D = nn.ModuleDict(networks)
        self._optimizers: dict[str, torch.optim.Optimizer] = {}

    def own_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the discriminators' optimizers, made once the networks are where they train."""
        if not self._optimizers:
            self._optimizers = {
                f"model_D.{name}": torch.optim.Adam(network.parameters(), self._rate(0), BETAS)
                for name, network in self.model_D.items()
            }
        return self._optimizers

    def align(self, step: Step, target: Outputs) -> dict[str, Tensor]:
        """Return how far each output on the target is from being taken for the source's."""
        weights = self.weights(self.settings.lambda_adv_target)
        with _frozen(self.model_D):
            judged = {name: self._judge(name, logits, SOURCE) for name, logits in target.items()}
        return {f"G_trg.loss.{name}": weights[name] * loss for name, loss in judged.items()}

    def train_others(self, step: Step, source: Outputs, target: Outputs) -> None:
        """Train the discriminators on both domains, each counting half."""
        for optimizer in self.own_optimizers().values():
            for group in optimizer.param_groups:
                group["lr"] = self._rate(step.iteration)
        losses = {}
        for domain, outputs, truth in (("src", source, SOURCE), ("trg", target, TARGET)):
            for name, logits in outputs.items():
                losses[f"D_{domain}.loss.{name}"] = self._judge(name, logits, truth) / 2
        step.output.backward(losses)

    def _judge(self, name: str, logits: Tensor, truth: float) -> Tensor:
        """Return the discriminator's loss on logits (B, C, H, W) if their domain is `truth`."""
        judged = at_least_single(self.model_D[name](logits.softmax(1)))
        return self.loss(judged, torch.full_like(judged, truth))

    def _rate(self, iteration: int) -> float:
        """Return the discriminators' learning rate in an iteration."""
        if not self.max_iters:
            raise ConfigError(
                "expected the length of the run for AdvSeg, whose discriminators learn slower "
                "toward its end, got none. Set runner.max_iters."
            )
        s = self.settings
        share = (1 - iteration / self.max_iters) ** s.lr_D_power
        return (s.lr_D - s.lr_D_min) * share + s.lr_D_min


@contextmanager
def _frozen(networks: nn.Module) -> Iterator[None]:
    """Compute no gradients of the networks' parameters from what runs inside."""
    networks.requires_grad_(False)
    try:
        yield
    finally:
        networks.requires_grad_(True)
