"""One pass of the backbone over all images of an iteration is what one for each phase is."""

from collections import Counter
from pathlib import Path
from typing import Any

import curves
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmseg.config import Config
from mmseg.datasets.loader import to_device
from mmseg.models import build_train_model
from mmseg.models.layers import StochasticDepth
from mmseg.system.errors import ConfigError

ROUNDING = 1e-12
RANDOM = (StochasticDepth, nn.modules.dropout._DropoutNd)


class NoiseOfEachSample:
    """Stochastic depth and dropout whose draws follow from the number of a sample alone."""

    def __init__(self, network: Any, batch: int) -> None:
        self.seen: Counter[int] = Counter()  # samples by other layers
        self.first = self.end = 0  # of this pass
        network.backbone.register_forward_pre_hook(self.begin)
        layers = [layer for layer in network.modules() if isinstance(layer, RANDOM)]
        self.numbers = {id(layer): number for number, layer in enumerate(layers)}
        for layer in layers:
            is_depth = isinstance(layer, StochasticDepth)
            layer.register_forward_hook(self.factors if is_depth else self.dropped)

    def begin(self, backbone: nn.Module, inputs: tuple[Tensor]) -> None:
        self.first, self.end = self.end, self.end + len(inputs[0])

    def factors(self, layer: Any, inputs: tuple[int], output: Any) -> list[Tensor]:
        """Of the backbone, for the images of its pass."""
        number, rates = self.numbers[id(layer)], np.array(layer.rates)
        drawn = [np.random.default_rng((number, n)).random(len(rates)) for n in self.images()]
        factors = (np.stack(drawn, 1) >= rates[:, None]) / (1 - rates[:, None])
        return list(torch.from_numpy(factors)[..., None, None])

    def images(self) -> range:
        return range(self.first, self.end)

    def dropped(self, layer: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Whole channels, in a head."""
        (x,), number = inputs, self.numbers[id(layer)]
        if layer.p == 0:  # as in the backbone
            return output
        first = self.seen[number]
        self.seen[number] += len(x)
        rngs = [np.random.default_rng((number, first + n)) for n in range(len(x))]
        kept = np.stack([rng.random((x.shape[1], 1, 1)) >= layer.p for rng in rngs])
        return x * torch.from_numpy(kept / (1 - layer.p))


def step(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, are_joint: bool, rate: float
) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Return losses and gradients of one iteration of a demo config, and the backbone's passes."""
    config_of = curves.demo_config

    def config(name: str, folder: Path) -> Config:
        cfg = config_of(name, folder)
        cfg.uda["joint_passes"] = are_joint
        cfg.model.backbone["drop_path_rate"] = cfg.model.decode_head["dropout_ratio"] = rate
        return cfg

    with monkeypatch.context() as patch:
        patch.setattr(curves, "demo_config", config)
        patch.setattr(curves, "_draw_from_numpy", NoiseOfEachSample)
        trainer = curves.demo_trainer(name, folder)
    passes: list[Any] = []
    trainer.method.train()
    trainer.method.model.backbone.register_forward_hook(lambda *_: passes.append(0))
    batch, draws = curves.demo_batch(name, 1), trainer.method.make_draws(1)
    output = trainer.method.accumulate_gradients(to_device(batch, trainer.device), 1, draws)
    named = trainer.method.model.named_parameters()
    return output.losses, {n: p.grad for n, p in named if p.grad is not None}, len(passes)


# HRDA's scales come in another order, so its samples would have other draws.
@pytest.mark.parametrize(
    ("name", "rate", "separate", "joint"),
    [
        ("cdda_daformer", 0.4, 3, 1),
        pytest.param("cdda_daformer", 0.0, 3, 1, marks=pytest.mark.slow),
        pytest.param("mic", 0.4, 3, 1, marks=pytest.mark.slow),
        pytest.param("cdda_hrda", 0.0, 3, 1, marks=pytest.mark.slow),
        pytest.param("cdda_mic", 0.0, 4, 1, marks=pytest.mark.slow),
    ],
)
def test_joint_passes_give_the_losses_and_gradients_of_separate_ones(
    name: str, rate: float, separate: int, joint: int, tmp_path: Path, monkeypatch: Any
) -> None:
    expected, gradients, count = step(name, tmp_path, monkeypatch, False, rate)
    assert count == separate
    losses, found, count = step(name, tmp_path, monkeypatch, True, rate)
    assert count == joint
    assert losses.keys() == expected.keys()
    assert found.keys() == gradients.keys()
    for term, value in losses.items():
        torch.testing.assert_close(value, expected[term], rtol=ROUNDING, atol=ROUNDING, msg=term)
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for term, value in found.items():
        assert (value - gradients[term]).abs().max() <= ROUNDING * largest, term


def test_networks_that_look_at_the_batch_are_refused() -> None:
    cfg = curves.demo_config("vfmudapp", Path())
    cfg.uda.update(joint_passes=True, mask_mode=None, vfm_feature_dist=None)
    cfg.model["pretrained"] = None
    with pytest.raises(ConfigError, match="joint_passes=True, got ViTAdapter with batch norm"):
        build_train_model(cfg)


def test_masks_inside_the_backbone_are_refused() -> None:
    cfg = curves.demo_config("mic", Path())
    cfg.uda.update(joint_passes=True)
    cfg.uda.mask_generator["at"] = "inner"
    with pytest.raises(ConfigError, match="joint_passes=True, got masks inside of"):
        build_train_model(cfg)
